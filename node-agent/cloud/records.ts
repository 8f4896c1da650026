import { setImmediate } from 'node:timers/promises';
import type { BlockIndex } from '../archive/pack.ts';
import type { Manifest, Ref } from '../contract.ts';
import { type ErrorCode, formatRef, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import { fromPlatform } from './translate.ts';

/** What is said of a generation before a byte of it is sent. */
export type Reservation = Readonly<{
  ref: Ref;
  objectKey: string;
  digest: string | null;
  sha256: string;
  archiveBytes: number | null;
  sourceBytes: number | null;
  fileCount: number | null;
  createdAt: string;
  ownerId: string | null;
  /** Whether it may take the place of other content under the same ref. */
  replace: boolean;
}>;

export type ReserveOutcome =
  | {
      outcome: 'reserved';
      status: 'pending' | 'uploaded' | 'verified';
      sha256: string;
      /** What the row names now: for a replacement, the object to remove in the end. */
      object_key: string;
    }
  | { outcome: 'conflict'; reason: string }
  | { outcome: 'deleted' }
  | NoDatabase;

/** Our migrations are not applied. */
type NoDatabase = { outcome: 'no_database' };

export type RecordOutcome = {
  /** Of what was replaced. */
  object_key?: string;
  /** What was recorded: `verified` too where the database had the proof. */
  status?: 'uploaded' | 'verified';
  outcome: 'recorded' | 'missing' | 'deleted' | 'superseded' | 'no_database';
};

/** What is said of a generation whose archive is in the bucket. */
export type Recording = Readonly<{
  ref: Ref;
  sha256: string;
  /** Whether its bytes are proven equal. */
  status: 'uploaded' | 'verified';
  /** Files in it, more or less: a request carries the names of so many at most. */
  fileCount: number;
  /**
   * Reads what is recorded with it; `null` where that was done. With the MD5 of the archive:
   * where Storage says the same, the row is `verified` at once.
   */
  readDetails: (() => RecordedDetails & { md5: string }) | null;
}>;

export type RecordedDetails = Readonly<{ manifest: Manifest; blockIndex: BlockIndex | null }>;

export type DeletionOutcome =
  | { outcome: 'recorded'; bucket: string; object_key: string }
  | { outcome: 'missing' | 'other' | 'no_database' };

/** The row of a generation, as far as reading it needs. */
export type CloudRow = Readonly<{
  generation_id: string;
  bucket: string;
  object_key: string;
  status: 'pending' | 'uploaded' | 'verified' | 'deleted';
  sha256: string | null;
  archive_bytes: number | null;
}>;

/** Where in the order of deletions one is. `deleted_at` is the database's text, to the microsecond. */
export type TombstonePosition = Readonly<{
  deleted_at: string;
  project_id: string;
  version: number;
}>;

/** What the web app or another host deleted. */
export type CloudTombstone = TombstonePosition &
  Readonly<{ generation_id: string; digest: string | null }>;

/** `known`: it is that already; `missing`: there is no such project, or it is deleted. */
export type OwnerOutcome = Readonly<{
  outcome: 'set' | 'known' | 'conflict' | 'missing' | 'no_database';
}>;

/** How PostgREST says that a table is not there. */
const NO_SUCH_TABLE = new Set(['PGRST205', '42P01']);

/** How PostgREST says that a function is not there: our migrations are not applied. */
const NO_SUCH_FUNCTION = new Set(['PGRST202', '42883']);

/** What goes wrong for whoever asks, whatever is asked. */
const FOR_ALL = new Set<ErrorCode>(['unavailable', 'rate_limited', 'unauthenticated', 'forbidden']);

/** How many files the manifests in one request may have: each takes about 200 bytes. */
const MAX_FILES = 2_000;

/** The rows of generations in Postgres, written through our SQL functions. */
export class CloudRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Takes the version, before a byte is sent. */
  async reserve(reservation: Reservation): Promise<ReserveOutcome> {
    return settledValue((await this.reserveAll([reservation]))[0]!);
  }

  /** The same of several, in one request. Does not throw; each outcome is in the place of its own. */
  reserveAll(
    reservations: readonly Reservation[],
  ): Promise<PromiseSettledResult<ReserveOutcome>[]> {
    return this.#callForEach('storage_reserve_generations', 'reserve', reservations, (given) => ({
      project_id: given.ref.projectId,
      version: given.ref.version,
      generation_id: given.ref.generationId,
      bucket: this.#connection.settings.bucket,
      object_key: given.objectKey,
      digest: given.digest,
      sha256: given.sha256,
      archive_bytes: given.archiveBytes,
      source_bytes: given.sourceBytes,
      file_count: given.fileCount,
      created_at: given.createdAt,
      owner_id: given.ownerId,
      replace: given.replace,
    }));
  }

  /** What the database knows of a version; `null` where it has none, or no database is there. */
  async find(projectId: string, version: number): Promise<CloudRow | null> {
    const { data, error, status } = await this.#connection.client
      .from('storage_generations')
      .select('generation_id, bucket, object_key, status, sha256, archive_bytes')
      .eq('project_id', projectId)
      .eq('version', version)
      .maybeSingle<CloudRow>();
    if (error === null) return data;
    if (NO_SUCH_TABLE.has(error.code)) return null;
    throw fromPlatform(
      { ...error, status },
      `look up ${formatRef({ projectId, version })}`,
      'the database',
    );
  }

  /** Notes that the archive is in the bucket, or proven equal. */
  async record(recording: Recording): Promise<RecordOutcome> {
    return settledValue((await this.recordAll([recording]))[0]!);
  }

  /** The same of several, in as few requests as can be. As {@link reserveAll}. */
  async recordAll(
    recordings: readonly Recording[],
  ): Promise<PromiseSettledResult<RecordOutcome>[]> {
    const results: PromiseSettledResult<RecordOutcome>[] = [];
    for (const group of inGroups(recordings)) {
      const made = await this.#callForEach<Recording, RecordOutcome>(
        'storage_record_generations',
        'record',
        group,
        ({ ref, sha256, status, readDetails }) => {
          const details = readDetails?.();
          return {
            project_id: ref.projectId,
            version: ref.version,
            sha256,
            status,
            manifest: details?.manifest ?? null,
            block_index: details?.blockIndex ?? null,
            md5: details?.md5 ?? null,
          };
        },
      );
      results.push(...made);
    }
    return results;
  }

  /** Switches the row to the archive of a replacement, in one UPDATE. */
  replace(reservation: Reservation, details: RecordedDetails): Promise<RecordOutcome> {
    const { ref } = reservation;
    return this.#call(
      'storage_replace_generation',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_object_key: reservation.objectKey,
        p_digest: reservation.digest,
        p_sha256: reservation.sha256,
        p_archive_bytes: reservation.archiveBytes,
        p_source_bytes: reservation.sourceBytes,
        p_file_count: reservation.fileCount,
        p_created_at: reservation.createdAt,
        p_manifest: details.manifest,
        p_block_index: details.blockIndex,
      },
      `replace ${formatRef(ref)}`,
    );
  }

  /** Sets the owner of a project that has none. */
  setOwner(projectId: string, ownerId: string): Promise<OwnerOutcome> {
    return this.#call(
      'storage_set_owner',
      { p_project_id: projectId, p_owner_id: ownerId },
      `set the owner of "${projectId}"`,
    );
  }

  /**
   * Leaves a tombstone; tells which object to remove.
   *
   * @param digest where it is given, other content is not deleted: `other`
   */
  recordDeletion(ref: Ref, digest: string | null): Promise<DeletionOutcome> {
    return this.#call(
      'storage_record_deletion',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_digest: digest,
      },
      `record the deletion of ${formatRef(ref)}`,
    );
  }

  /** Notes that the object of a deleted generation is gone. */
  async recordRemoval(ref: Ref): Promise<void> {
    await this.#call(
      'storage_record_removals',
      { p_project_id: ref.projectId, p_versions: [ref.version] },
      `record the removal of ${formatRef(ref)}`,
    );
  }

  /**
   * A page of what was deleted in the cloud, oldest first; none where no database is there.
   *
   * @param after the last one that is known
   */
  async listTombstones(after: TombstonePosition | null, limit: number): Promise<CloudTombstone[]> {
    const page = await this.#call<CloudTombstone[] | { outcome: 'no_database' }>(
      'storage_list_tombstones',
      {
        p_limit: limit,
        p_after_deleted_at: after?.deleted_at ?? null,
        p_after_project_id: after?.project_id ?? null,
        p_after_version: after?.version ?? null,
      },
      'list what was deleted',
    );
    return Array.isArray(page) ? page : [];
  }

  /**
   * Calls a function that takes several. It does all of them or none: where one is refused, each is
   * told alone.
   */
  async #callForEach<Given extends { ref: Ref }, Outcome>(
    name: string,
    verb: string,
    given: readonly Given[],
    toItem: (given: Given) => object,
  ): Promise<PromiseSettledResult<Outcome>[]> {
    const doing = ({ ref }: Given) => `${verb} ${formatRef(ref)}`;
    const eachAlone = async () => {
      const results: PromiseSettledResult<Outcome>[] = [];
      for (const one of given) {
        results.push(...(await this.#callForEach<Given, Outcome>(name, verb, [one], toItem)));
      }
      return results;
    };
    const items: object[] = [];
    try {
      for (const one of given) {
        items.push(toItem(one));
        // To read a manifest may take a millisecond, and the event loop is for others too.
        await setImmediate();
      }
    } catch (reason) {
      return given.length === 1 ? [{ status: 'rejected', reason }] : eachAlone();
    }
    try {
      type Named = Outcome & { project_id: string; version: number };
      const answer = await this.#call<Named[] | NoDatabase>(
        name,
        { p_items: items },
        doing(given[0]!),
      );
      if (!Array.isArray(answer)) {
        return given.map(() => ({ status: 'fulfilled', value: answer as Outcome }));
      }
      const byRef = new Map(answer.map((one) => [`${one.project_id} ${one.version}`, one]));
      return given.map(({ ref: { projectId, version } }) => ({
        status: 'fulfilled',
        value: byRef.get(`${projectId} ${version}`)!,
      }));
    } catch (error) {
      if (error instanceof StorageError && FOR_ALL.has(error.code)) {
        return given.map((one) => {
          const reason = fromPlatform(error.cause, doing(one), 'the database');
          return { status: 'rejected', reason };
        });
      }
      return given.length === 1 ? [{ status: 'rejected', reason: error }] : eachAlone();
    }
  }

  async #call<T>(name: string, args: Record<string, unknown>, doing: string): Promise<T> {
    const { data, error, status } = await this.#connection.client.rpc(name, args);
    if (error === null) return data as T;
    if (NO_SUCH_FUNCTION.has(error.code)) return { outcome: 'no_database' } as T;
    throw fromPlatform({ ...error, status }, doing, 'the database');
  }
}

/** So that no request is too large, and few manifests are in memory at once. */
function* inGroups(recordings: readonly Recording[]): Iterable<Recording[]> {
  let group: Recording[] = [];
  let files = 0;
  for (const one of recordings) {
    if (group.length > 0 && files + one.fileCount > MAX_FILES) {
      yield group;
      group = [];
      files = 0;
    }
    group.push(one);
    files += one.fileCount;
  }
  if (group.length > 0) yield group;
}

function settledValue<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
