import { markDeleted } from '../catalog/deleting.ts';
import type { Cloud } from '../cloud/cloud.ts';
import type { ObjectPlace } from '../cloud/objects.ts';
import { parseId, type Ref, StorageError } from '../contract.ts';
import { Lanes } from '../threads/lanes.ts';
import { followActive } from '../upkeep/activate.ts';
import {
  type Parts as InstallParts,
  installGeneration,
  type Restorable,
} from '../upkeep/install.ts';
import { takeOwner } from '../upload/owner.ts';
import type { Uploads } from '../upload/uploads.ts';
import { countInBucket, foundInBucket } from './from-bucket.ts';
import { countInDatabase, foundInDatabase } from './from-database.ts';
import type { Activation, KnownDeletion, KnownProject } from './known.ts';

import { RestoreCounts, type RestoreReport, reasonOf } from './report.ts';

export type RestoreOptions = Readonly<{
  /** This project alone. */
  projectId?: string;
  /** Whether the bucket says what there is, where the database was lost; it is filled again then. @default false */
  fromBucket?: boolean;
  /** Whether nothing is done, and what would be is counted. @default false */
  dryRun?: boolean;
  /** So many are fetched at once. @default 4 */
  concurrency?: number;
  /** Ends it after those that are under way. */
  signal?: AbortSignal;
  onProgress?: (progress: Readonly<{ done: number; total: number }>) => void;
}>;

type Parts = Omit<InstallParts, 'objects'> &
  Parameters<typeof followActive>[0] &
  Readonly<{ uploads: Uploads; onProblem: (error: unknown) => void; wake: () => void }>;

const CONCURRENCY = 4;

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
  const { fromBucket = false, dryRun = false, signal, onProgress = () => {} } = options;
  const only = options.projectId === undefined ? null : parseId(options.projectId, 'project id');
  if (!fromBucket) await checkDatabase(cloud);
  const total = fromBucket
    ? await countInBucket(cloud, only)
    : await countInDatabase(cloud.listing, only);
  const found = fromBucket ? foundInBucket(cloud, only) : foundInDatabase(cloud.listing, only);
  const counts = new RestoreCounts();
  const activations: Activation[] = [];
  const lanes = new Lanes(options.concurrency ?? CONCURRENCY);
  const installing = { ...parts, objects: cloud.objects };
  for await (const one of found) {
    if (signal?.aborted === true) break;
    switch (one.kind) {
      case 'project':
        if (one.activation !== null) activations.push(one.activation);
        if (!dryRun) await noteProject(parts, one);
        break;
      case 'absent':
        counts.found();
        await noteAbsent(parts, one, counts);
        break;
      case 'deletion':
        if (!dryRun && (await noteDeletion(parts, one))) counts.deleted();
        break;
      case 'generation':
        counts.found();
        await lanes.run(async () => {
          await (dryRun ? plan(parts, one, counts) : install(installing, one, counts, signal));
          onProgress({ done: counts.done, total: Math.max(total, counts.done) });
        });
    }
  }
  await lanes.idle();
  if (!dryRun) {
    await makeActive(parts, fromBucket ? activations : null);
    parts.wake();
  }
  return counts.report(signal?.aborted === true);
}

async function checkDatabase({ records }: Cloud): Promise<void> {
  if (await records.isThere()) return;
  throw new StorageError(
    'not_found',
    'Cannot restore: the database has none of our tables. Push the migrations, and say --from-bucket: codebegen-storage init',
  );
}

/** One that cannot be had keeps no other from being restored; what keeps all is thrown. */
async function install(
  parts: InstallParts,
  given: Restorable,
  counts: RestoreCounts,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    const came = await installGeneration(parts, given, signal);
    if (typeof came === 'number') counts.restored(came);
    else counts.there();
  } catch (error) {
    if (signal?.aborted === true) return;
    counts.fail(given.ref, reasonOf(error, given.ref));
  }
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
  const { store, catalog, now } = parts;
  await catalog.write(() => catalog.projects.setCloudVersion(projectId, latestVersion, true));
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
async function noteDeletion(parts: Parts, deletion: KnownDeletion): Promise<boolean> {
  const { store, catalog, find, now } = parts;
  const { ref, digest, deletedAt, epoch, places } = deletion;
  if ((await find(ref)) !== null) return false;
  const digests = digest === null ? [] : [digest];
  await store.tombstones.put(ref, { deleted_at: deletedAt, digests });
  await catalog.write(() => {
    markDeleted(catalog, ref, deletedAt, now(), { digests, isOwed: epoch === null });
    if (epoch !== null) catalog.generations.setCloudEpoch(ref, epoch);
    else catalog.generations.update(ref, keysOf(places));
  });
  return true;
}

/** Where the cloud has it, so that it is removed there. */
function keysOf(places: readonly ObjectPlace[]) {
  const [latest = null, ...earlier] = places.map(({ key }) => key);
  return { object_key: latest, earlier_keys: JSON.stringify(earlier) };
}

/** @param found what the bucket says; `null` where the database is asked */
async function makeActive(parts: Parts, found: readonly Activation[] | null): Promise<void> {
  const { catalog, uploads, onProblem } = parts;
  if (found === null) {
    // From the first on: what was not here when it was told of is here now.
    await catalog.write(() => catalog.meta.setActiveSeen(null));
    await uploads.exchangeActive();
    return;
  }
  for (const { ref, at } of found) {
    const row = catalog.generations.find(ref.projectId, ref.version);
    if (row?.generation_id !== ref.generationId || row.state !== 'stored') continue;
    await followActive(parts, row, at).catch(onProblem);
    await catalog.write(() => catalog.projects.oweActive(ref.projectId));
  }
}
