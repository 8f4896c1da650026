import { markDeleted } from '../catalog/deleting.ts';
import { writingTogether } from '../catalog/write-together.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { isInCloud, parseId, type Ref, StorageError } from '../contract.ts';
import { Lanes } from '../threads/lanes.ts';
import { Turns } from '../threads/turns.ts';
import { followActive } from '../upkeep/activate.ts';
import {
  type Parts as InstallParts,
  installGeneration,
  type Restorable,
} from '../upkeep/install.ts';
import { takeOwner } from '../upload/owner.ts';
import type { Uploads } from '../upload/uploads.ts';
import { type BucketSource, countInBucket, foundInBucket } from './from-bucket.ts';
import { countInDatabase, foundInDatabase } from './from-database.ts';
import type { Found, KnownDeletion, KnownProject } from './known.ts';
import { RestoreCounts, type RestoreReport, reasonOf } from './report.ts';

export type RestoreOptions = Readonly<{
  /** This project alone. */
  projectId?: string;
  /** Whether the bucket says what there is, where the database was lost; it is filled again then. @default false */
  fromBucket?: boolean;
  /** The name of a replica that says what there is, where bucket and database were lost; they are filled again then. */
  from?: string;
  /** Whether nothing is done, and what would be is counted. @default false */
  dryRun?: boolean;
  /** So many are fetched at once. @default 4 */
  concurrency?: number;
  /** Ends it after those that are under way. */
  signal?: AbortSignal;
  onProgress?: (progress: Readonly<{ done: number; total: number }>) => void;
}>;

type Parts = Omit<InstallParts, 'download' | 'write'> &
  Parameters<typeof followActive>[0] &
  Readonly<{
    uploads: Uploads;
    onProblem: (error: unknown) => void;
    wake: () => void;
    /** The replica that is restored from; `null`: the cloud is. */
    replica: BucketSource | null;
    /** Waits until the cloud is told what is owed to it. Returns whether it is. */
    settle: () => Promise<boolean>;
  }>;

const CONCURRENCY = 4;
/** So many times as many are under way: what was fetched is put in place while others are. */
const UNDER_WAY = 8;

/**
 * Brings everything that the cloud has into this store, verified: generations, whose they are, what is active, what
 * is deleted, and which versions are taken. What is here stays. May be repeated: what is done is passed over.
 *
 * @throws StorageError `not_found` where the database is not there, `unavailable`, `disk_full`: what came so far
 *   stays
 */
export async function restore(
  parts: Parts,
  cloud: Cloud,
  options: RestoreOptions,
): Promise<RestoreReport> {
  const { fromBucket = false, dryRun = false, concurrency = CONCURRENCY, signal } = options;
  const { onProgress = () => {} } = options;
  const only = options.projectId === undefined ? null : parseId(options.projectId, 'project id');
  const bucket: BucketSource | null = parts.replica ?? (fromBucket ? cloud : null);
  await checkDatabase(cloud, options);
  const total =
    bucket === null
      ? await countInDatabase(cloud.listing, only)
      : await countInBucket(bucket, only);
  const found =
    bucket === null ? foundInDatabase(cloud.listing, only) : foundInBucket(bucket, only, !dryRun);
  const { objects } = bucket ?? cloud;
  const changesSeen = parts.catalog.meta.changesSeen;
  const { records } = cloud;
  const counts = new RestoreCounts();
  const projects: KnownProject[] = [];
  const lanes = new Lanes(concurrency * UNDER_WAY);
  const turns = new Turns(concurrency);
  const write = writingTogether(parts.catalog);
  // Another has its turn once this one is fetched: what is put in place meanwhile keeps nobody waiting.
  const installing = (first: () => void): Parts & InstallParts => {
    let held: (() => void) | null = first;
    const download: InstallParts['download'] = async (...from) => {
      const end = held ?? (await turns.take());
      held = null;
      return objects.download(...from).finally(end);
    };
    return { ...parts, write, download };
  };
  try {
    for await (const one of found) {
      if (signal?.aborted === true) break;
      switch (one.kind) {
        case 'project':
          projects.push(one);
          if (!dryRun) await noteProject(parts, one);
          break;
        case 'absent':
          counts.found();
          await noteAbsent(parts, one, counts);
          break;
        case 'deletion':
          if (!dryRun) await noteDeletion(parts, one, counts);
          break;
        case 'generation':
          counts.found();
          await lanes.run(async () => {
            const end = await turns.take();
            try {
              if (signal?.aborted === true) return;
              if (dryRun) await plan(parts, one, counts);
              else await install({ ...installing(end), records }, one, counts, signal);
              onProgress({ done: counts.done, total: Math.max(total, counts.done) });
            } finally {
              end();
            }
          });
      }
    }
  } finally {
    // Whatever ended it, what is under way ends before it is told.
    await lanes.settled();
  }
  await lanes.idle();
  const isStopped = signal?.aborted === true;
  if (!dryRun) {
    await followChanges(parts, changesSeen);
    if (bucket !== null) await makeActive(parts, projects);
    await parts.uploads.exchangeActive();
    parts.wake();
    // Until the database knows it all the next restore goes by what the files said.
    if (bucket !== null && !isStopped && (await parts.settle())) {
      for (const { projectId } of projects) await bucket.projectFiles.end(projectId);
    }
  }
  return counts.report(isStopped);
}

async function checkDatabase(
  { records }: Cloud,
  { fromBucket = false, from }: RestoreOptions,
): Promise<void> {
  if (await records.isThere()) return;
  const isFilled = fromBucket || from !== undefined;
  const next = isFilled ? 'it is filled again' : 'then say --from-bucket, or --from a replica';
  throw new StorageError(
    'not_found',
    `Cannot restore: the database has none of our tables. Push the migrations, ${next}`,
  );
}

/** What became of them while they came: the feed passed over what was not here yet. */
async function followChanges({ catalog, uploads }: Parts, from: number): Promise<void> {
  await catalog.write(() => {
    catalog.meta.setChangesSeen(Math.min(from, catalog.meta.changesSeen));
    // From the first on: what was not here when it was told of is here now.
    catalog.meta.setActiveSeen(null);
  });
  await uploads.learnChanges();
}

/** One that cannot be had keeps no other from being restored; what keeps all is thrown. */
async function install(
  parts: Parts & InstallParts & Pick<Cloud, 'records'>,
  given: Restorable,
  counts: RestoreCounts,
  signal: AbortSignal | undefined,
): Promise<void> {
  let one = given;
  for (let looks = 0; ; looks++) {
    try {
      const came = await installGeneration(parts, one, signal);
      if (typeof came === 'number') counts.restored(came);
      else counts.there();
      return;
    } catch (error) {
      if (signal?.aborted === true) return;
      const reason = reasonOf(error);
      const now = looks < MOST_LOOKS ? await changedSince(parts, one) : null;
      if (now === null) return counts.fail(given.ref, reason);
      if (now.kind === 'deletion') {
        counts.unfound();
        return noteDeletion(parts, now, counts);
      }
      one = now;
    }
  }
}

/** So often is looked what became of one while it came. */
const MOST_LOOKS = 3;

/** What the cloud says of a generation now, whose archive could not be had; `null` where that is the same. */
async function changedSince(
  { records, now }: Pick<Parts, 'now'> & Pick<Cloud, 'records'>,
  { ref, places, recorded, ...given }: Restorable,
): Promise<Extract<Found, { kind: 'generation' | 'deletion' }> | null> {
  const record = recorded && (await records.find(ref.projectId, ref.version));
  if (record?.generation_id !== ref.generationId) return null;
  const { status, digest, epoch, sha256, bucket, object_key: key, archive_bytes: bytes } = record;
  const at = new Date(now()).toISOString();
  if (status === 'deleted') return { kind: 'deletion', ref, digest, deletedAt: at, epoch };
  if (!isInCloud(status) || (key === places[0]?.key && sha256 === given.sha256)) return null;
  const found = { status, uploadedAt: at, epoch };
  return {
    kind: 'generation',
    ref,
    places: [{ bucket, key }],
    digest,
    sha256,
    bytes,
    recorded: found,
  };
}

async function plan({ store, find }: Parts, { ref, bytes }: Restorable, counts: RestoreCounts) {
  const row = await find(ref);
  const isHere = row !== null && (row.state !== 'stored' || store.folderOf(ref) !== null);
  if (isHere) counts.there();
  else counts.restored(bytes ?? 0);
}

/** Whose it is, and which versions are taken: that is known here then, also while the cloud is away. */
async function noteProject(
  parts: Parts,
  { projectId, ownerId, latestVersion }: KnownProject,
): Promise<void> {
  const { store, catalog, find, now, onProblem } = parts;
  try {
    // What of it is to be read from the disk is read first.
    await find({ projectId, version: Math.max(1, latestVersion) });
    await catalog.write(() => catalog.projects.setCloudVersion(projectId, latestVersion, true));
  } catch (error) {
    // Another project has its id in other case: each of its generations says so.
    if (!(error instanceof StorageError) || error.code !== 'conflict') throw error;
    onProblem(error);
    return;
  }
  const cloudVersion = catalog.projects.cloudVersionOf(projectId);
  const decided = ownerId === null ? {} : { ownerDecidedAt: new Date(now()).toISOString() };
  await store.projects.write(projectId, { cloudVersion, ...decided });
  if (ownerId !== null && catalog.projects.ownerOf(projectId) !== ownerId) {
    await takeOwner(parts, projectId, ownerId);
  }
}

async function noteAbsent(
  { store, find }: Parts,
  { ref, reason }: Readonly<{ ref: Ref; reason: string }>,
  counts: RestoreCounts,
): Promise<void> {
  const row = await find(ref);
  const isHere = row?.generation_id === ref.generationId && store.folderOf(ref) !== null;
  if (isHere) counts.there();
  else counts.fail(ref, reason);
}

/** A deletion is known here then. What lies here under its name is the feed's to decide of. */
async function noteDeletion(
  parts: Parts,
  { ref, digest, deletedAt, epoch }: KnownDeletion,
  counts: RestoreCounts,
): Promise<void> {
  const { store, catalog, now } = parts;
  if (catalog.generations.find(ref.projectId, ref.version) !== null || store.has(ref)) return;
  const digests = digest === null ? [] : [digest];
  try {
    // First, as with any deletion: what is owed for it looks for this.
    const followed = epoch === null ? {} : ({ followed: true } as const);
    await store.tombstones.put(ref, { deleted_at: deletedAt, digests, ...followed });
    await catalog.write(() => {
      // Another generation may have its version by now.
      markDeleted(catalog, ref, deletedAt, now(), { digests, isOwed: epoch === null });
      if (epoch !== null) catalog.generations.setCloudEpoch(ref, epoch);
    });
    counts.deleted();
  } catch (error) {
    counts.fail(ref, reasonOf(error));
  }
}

/** What the bucket says of what is active; the database is told. */
async function makeActive(parts: Parts, projects: readonly KnownProject[]): Promise<void> {
  const { catalog, onProblem } = parts;
  for (const { activation } of projects) {
    if (activation === null) continue;
    const { ref, at } = activation;
    const row = catalog.generations.find(ref.projectId, ref.version);
    if (row?.generation_id !== ref.generationId || row.state !== 'stored') continue;
    await followActive(parts, row, at).catch(onProblem);
    await catalog.write(() => catalog.projects.oweActive(ref.projectId));
  }
}
