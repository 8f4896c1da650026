import { archiveOf, packAgain } from './archive-of.ts';
import { bury } from './bury.ts';
import type { CloudObjects } from './cloud/objects.ts';
import type {
  CloudRecords,
  Recording,
  RecordOutcome,
  Reservation,
  ReserveOutcome,
} from './cloud/records.ts';
import { withRetryAfter } from './cloud/retry-after.ts';
import { formatRef, isInCloud, objectKey, type Ref, StorageError } from './contract.ts';
import type { OnEvent } from './events.ts';
import type { Holds } from './holds.ts';
import { type Catalog, type GenerationRow, keyOf, refOf } from './outbox/catalog.ts';
import type { Job, JobKind, Jobs } from './outbox/jobs.ts';
import type { Work } from './outbox/outbox.ts';
import type { ArchiveFacts } from './store/hash.ts';
import type { Store } from './store/store.ts';
import { together } from './together.ts';

type Parts = {
  store: Store;
  catalog: Catalog;
  jobs: Jobs;
  objects: CloudObjects;
  records: CloudRecords;
  holds: Holds;
  now: () => number;
  onEvent: OnEvent;
  /** Told when the bytes of a generation are proven to be in the cloud. */
  onVerified: () => void;
};

type HashedRow = GenerationRow & { sha256: string; md5: string; archive_bytes: number };

const NO_RESUME = { url: null, save: () => {} };

/** How long to wait for migrations that are not applied yet, in milliseconds. */
const NO_DATABASE_RETRY_MS = 5 * 60_000;

/** The steps that bring a generation to the cloud, and out of it. Each may be repeated. */
export function createWork(parts: Parts): Work {
  const { store, catalog, jobs, objects, records } = parts;
  const isoNow = () => new Date(parts.now()).toISOString();

  return (batch) =>
    withRetryAfter(() => {
      switch (batch[0]!.kind) {
        case 'reserve':
          return together(
            batch,
            (asked: Reservation[]) => records.reserveAll(asked),
            async (job, ask) => {
              const row = findStored(job);
              return row === null ? null : reserve(row, ask);
            },
          );
        case 'record':
          return together(
            batch,
            (asked: Recording[]) => records.recordAll(asked),
            async (job, ask) => {
              const row = findStored(job);
              return row === null ? null : record(row, job, ask);
            },
          );
        default:
          return Promise.allSettled(batch.map(workAlone));
      }
    });

  async function workAlone(job: Job): Promise<JobKind | null> {
    if (job.kind === 'delete') {
      const row = catalog.find(job.project_id, job.version);
      return row === null ? null : remove(row);
    }
    const row = findStored(job);
    if (row === null) return null;
    return job.kind === 'upload' ? upload(row, job) : verify(row);
  }

  function findStored(job: Job): GenerationRow | null {
    const row = catalog.find(job.project_id, job.version);
    return row?.state === 'stored' ? row : null;
  }

  async function reserve(
    given: GenerationRow,
    ask: (reservation: Reservation) => Promise<ReserveOutcome>,
  ): Promise<JobKind | null> {
    const ref = refOf(given);
    const row = await withHashes(given);
    const reserved = await ask(reservationOf(row));
    switch (reserved.outcome) {
      case 'conflict':
        throw new StorageError('conflict', `Cannot upload ${formatRef(ref)}: ${reserved.reason}`);
      case 'deleted':
        await bury(parts, ref);
        return null;
      case 'no_database':
        // Uploaded before there was a database: the row is still owed.
        if (isInCloud(row.status)) throw noDatabase(ref);
        return 'upload';
      case 'reserved':
        if (isReplacement(row) && reserved.object_key !== keyOf(row)) {
          // What an earlier replacement took the place of is named by nobody else.
          await removeReplaced(row, reserved.object_key);
          catalog.setReplacedKey(ref, reserved.object_key);
          return 'upload';
        }
        if (reserved.status === 'pending') return 'upload';
        // Uploaded before, by us before a crash or by another host with the same content.
        catalog.setStatus(ref, row.sha256, reserved.status, isoNow());
        return reserved.status === 'verified' || reserved.sha256 !== row.sha256 ? null : 'verify';
    }
  }

  async function upload(given: GenerationRow, job: Job): Promise<JobKind | null> {
    const ref = refOf(given);
    const row = await withHashes(given);
    const archive = await archiveOf(parts, ref);
    if (archive.sha256 !== row.sha256) {
      // Retired, and packed again by another version of Node: its hash is another.
      noteHashes(row, archive);
      return 'reserve';
    }
    // An upload that was begun goes on with the same bytes, or not at all.
    const mark = `${row.sha256} `;
    const resume = {
      url: job.upload_url?.startsWith(mark) ? job.upload_url.slice(mark.length) : null,
      save: (url: string | null) => jobs.setUploadUrl(job, url === null ? null : mark + url),
    };
    const began = performance.now();
    try {
      const isNew = job.attempts === 0 && resume.url === null;
      await objects.put(keyOf(row), archive, resume, { isNew });
      const ms = performance.now() - began;
      parts.onEvent({ kind: 'upload', bytes: archive.bytes, ms });
    } catch (error) {
      if (error instanceof StorageError && error.code === 'conflict') return yieldTo(row, error);
      throw error;
    }
    jobs.setUploaded(job, row.sha256);
    return 'record';
  }

  /** Says in the cloud that the archive is there. Mostly the database has the proof of it too. */
  async function record(
    given: GenerationRow,
    job: Job,
    ask: (recording: Recording) => Promise<RecordOutcome>,
  ): Promise<JobKind | null> {
    const ref = refOf(given);
    const row = await withHashes(given);
    // It was packed again meanwhile, or replaced: that is not what is in the bucket.
    if (job.uploaded_sha256 !== row.sha256) return 'reserve';
    const readDetails = () => ({
      manifest: store.readManifest(ref),
      blockIndex: store.readBlockIndex(ref),
      md5: row.md5,
    });
    // What a replacement took the place of goes in a step of its own.
    const {
      outcome,
      status,
      object_key: replaced,
    } = isReplacement(row)
      ? await records.replace(reservationOf(row), readDetails())
      : await ask({
          ref,
          sha256: row.sha256,
          status: 'uploaded',
          fileCount: row.file_count ?? 0,
          readDetails,
        });
    const archive = { bytes: row.archive_bytes, sha256: row.sha256, md5: row.md5 };
    if (outcome === 'superseded' && (await objects.has(keyOf(row), archive))) {
      // Two hosts uploaded the same content at once, packed at other times, and ours came last: the
      // row says what the bucket has.
      await records.replace(reservationOf(row), readDetails());
      catalog.setStatus(ref, row.sha256, 'uploaded', isoNow());
      return 'verify';
    }
    if (outcome === 'missing' || outcome === 'superseded') return 'reserve';
    if (outcome === 'deleted') {
      // Deleted in the cloud while we uploaded: what we put there goes again.
      await objects.remove(keyOf(row));
      return 'reserve';
    }
    // Another host may have replaced it since it was reserved: what the row named last goes.
    if (replaced !== undefined && replaced !== keyOf(row)) catalog.setReplacedKey(ref, replaced);
    if (status !== 'verified') {
      catalog.setStatus(ref, row.sha256, 'uploaded', isoNow());
      return 'verify';
    }
    setVerified(row);
    return null;
  }

  function setVerified(row: HashedRow): void {
    catalog.setStatus(refOf(row), row.sha256, 'verified', isoNow());
    parts.onVerified();
  }

  /** Other bytes have the key: those of a host with the same content, or nobody knows whose. */
  async function yieldTo(row: HashedRow, conflict: StorageError): Promise<null> {
    const reserved = await records.reserve(reservationOf(row));
    if (reserved.outcome === 'reserved' && reserved.status !== 'pending') {
      catalog.setStatus(refOf(row), row.sha256, reserved.status, isoNow());
      return null;
    }
    // The other host may not have recorded it yet.
    throw new StorageError('conflict', conflict.message, { cause: conflict, retryable: true });
  }

  async function verify(given: GenerationRow): Promise<JobKind | null> {
    const ref = refOf(given);
    const row = await withHashes(given);
    const key = keyOf(row);
    const { sha256, md5, archive_bytes: bytes } = row;
    try {
      if (!(await objects.verify(key, { sha256, md5, bytes }))) {
        // An earlier attempt removed what was wrong.
        await objects.put(key, await archiveOf(parts, ref), NO_RESUME);
        await objects.verify(key, { sha256, md5, bytes });
      }
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'corrupt') throw error;
      // Other bytes than were sent: they go, and the next attempt sends them again.
      await objects.remove(key);
      // It may be ours that is damaged: the tree is whole then, or says that it is not.
      if (!(await store.isArchiveSound(ref))) noteHashes(row, await packAgain(parts, ref));
      throw error;
    }
    if (row.replaced_key !== null) {
      await removeReplaced(row, key);
      catalog.setReplacedKey(ref, null);
    }
    const { outcome } = await records.record({
      ref,
      sha256: row.sha256,
      status: 'verified',
      fileCount: 0,
      readDetails: null,
    });
    if (outcome === 'recorded' || outcome === 'no_database') {
      setVerified(row);
    }
    return outcome === 'recorded' ? null : 'reserve';
  }

  async function remove(row: GenerationRow): Promise<null> {
    const ref = refOf(row);
    // What never got there is not what another host has there under the same name.
    const neverThere = row.uploaded_at === null && row.object_key === null;
    const recorded = await records.recordDeletion(ref, neverThere ? row.digest : null);
    if (recorded.outcome === 'other') return null;
    const keys = new Set([keyOf(row), row.replaced_key]);
    if (recorded.outcome === 'recorded') {
      await objects.remove(recorded.object_key, recorded.bucket);
      keys.delete(recorded.object_key);
    }
    for (const key of keys) if (key !== null) await objects.remove(key);
    if (recorded.outcome === 'no_database') throw noDatabase(ref);
    if (recorded.outcome === 'recorded') await records.recordRemoval(ref);
    return null;
  }

  /** @param kept a key that stays */
  async function removeReplaced(row: HashedRow, kept: string): Promise<void> {
    const { replaced_key: key } = row;
    if (key !== null && key !== kept && key !== keyOf(row)) await objects.remove(key);
  }

  /** The row with its hashes, which a rebuilt catalog may not have. */
  async function withHashes(row: GenerationRow): Promise<HashedRow> {
    const { sha256, md5, archive_bytes } = row;
    if (sha256 !== null && md5 !== null && archive_bytes !== null) {
      return { ...row, sha256, md5, archive_bytes };
    }
    return noteHashes(row, await archiveOf(parts, refOf(row)));
  }

  function noteHashes(row: GenerationRow, { sha256, md5, bytes }: ArchiveFacts): HashedRow {
    const ref = refOf(row);
    const object_key = store.isReplacement(ref) ? objectKey(ref, sha256) : keyOf(row);
    catalog.setHashes(ref, { sha256, md5, bytes }, object_key);
    return { ...row, sha256, md5, archive_bytes: bytes, object_key };
  }

  function reservationOf(row: HashedRow): Reservation {
    const ref = refOf(row);
    return {
      ref,
      objectKey: keyOf(row),
      digest: row.digest,
      sha256: row.sha256,
      archiveBytes: row.archive_bytes,
      sourceBytes: row.source_bytes ?? 0,
      fileCount: row.file_count ?? 0,
      createdAt: row.created_at,
      // The one that was named with this save, also where the project has another: the cloud
      // refuses it then.
      ownerId: row.owner_id ?? catalog.ownerOf(ref.projectId),
      replace: isReplacement(row),
    };
  }
}

/** A replacement has a key of its own. */
function isReplacement(row: HashedRow): boolean {
  return keyOf(row) === objectKey(refOf(row), row.sha256);
}

/** The cloud is there, so this is no reason to pause; it is tried again for ever. */
function noDatabase(ref: Ref): StorageError {
  return new StorageError(
    'not_found',
    `Cannot record ${formatRef(ref)}: the migrations are not applied`,
    { retryable: true, retryAfterMs: NO_DATABASE_RETRY_MS },
  );
}
