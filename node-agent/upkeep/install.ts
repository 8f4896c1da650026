import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import { noteFound, noteRestored } from '../catalog/restoring.ts';
import { abortSave, beginSave, type SavePlace } from '../catalog/saving.ts';
import type { Write } from '../catalog/write-together.ts';
import type { CloudObjects } from '../cloud/cloud.ts';
import type { ObjectPlace } from '../cloud/objects.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import type { Installed } from '../store/install-archive.ts';
import { inGeneration } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { adopt, factsOf } from './adopt.ts';
import { noteChange } from './listed.ts';
import type { Locks } from './locks.ts';

export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  instance: Instance;
  locks: Locks;
  /** What this host knows of a generation. */
  find: (ref: { projectId: string; version: number }) => Promise<GenerationRow | null>;
  download: CloudObjects['download'];
  /** As that of the catalog. */
  write: Write;
  now: () => number;
  /** How long to wait after so many failures, in milliseconds. */
  backoff: (failures: number) => number;
}>;

/** A generation that can be had from the cloud. Times are ISO 8601, sizes bytes. */
export type Restorable = Readonly<{
  ref: Ref;
  /** Where its archive is: one place, but where several contents of it lie in the bucket. */
  places: readonly ObjectPlace[];
  /** What it has to hold; `null`: whatever it holds. */
  digest: string | null;
  /** Of its archive; `null` where nobody recorded it. */
  sha256: string | null;
  /** `null` where nobody knows. */
  bytes: number | null;
  /** What the database says of it; `null` where the bucket alone knows it. */
  recorded: Readonly<{
    status: 'uploaded' | 'verified';
    uploadedAt: string | null;
    epoch: number;
  }> | null;
}>;

/** So often is asked for what does not come; what came damaged counts too. */
const ATTEMPTS = 5;

/**
 * Has a generation of the cloud be in the store, whole, as if it had been saved here. May be repeated, and done by
 * several at once. What this host has of it stays.
 *
 * @returns the bytes that came for it; `there` where it was here; `deleted` where it was deleted here
 * @throws StorageError `conflict` where the version holds something else, `corrupt`, `not_found`, `unavailable`,
 *   `disk_full`; nothing of it is left then
 */
export async function installGeneration(
  parts: Parts,
  given: Restorable,
  signal: AbortSignal | undefined,
): Promise<number | 'there' | 'deleted'> {
  const { store, catalog, locks } = parts;
  const { ref } = given;
  const wait = locks.waiter('restore');
  for (;;) {
    const row = await knownOf(parts, ref);
    if (row !== null && row.generation_id !== ref.generationId) throw taken(ref, row);
    if (row?.state === 'deleted') return 'deleted';
    if (row?.state === 'stored') {
      if (store.folderOf(ref) !== null) return compare(row, given);
      return putBack(parts, given, signal);
    }
    const { place, end } = await takePlace(parts, ref);
    if (place.kind === 'saving') await wait(place.row).catch(isBusy(ref));
    if (place.kind !== 'new') continue;
    try {
      return await fetchAndInstall(parts, given, signal);
    } catch (error) {
      // Whatever lies there now is another's.
      if (!store.has(ref)) await catalog.write(() => abortSave(catalog, ref));
      throw error;
    } finally {
      end();
    }
  }
}

async function takePlace(
  { catalog, instance, locks, write, now }: Parts,
  ref: Ref,
): Promise<{ place: SavePlace; end: () => void }> {
  const by = {
    instanceId: instance.id,
    makeId: () => ref.generationId,
    createdAt: new Date(now()).toISOString(),
    above: 0,
  };
  let end = () => {};
  try {
    const place = await write(() => {
      // What was taken before was not committed.
      end();
      const place = beginSave(catalog, ref, by);
      if (place.kind === 'new') end = locks.begin(ref);
      return place;
    });
    return { place, end };
  } catch (error) {
    end();
    throw error;
  }
}

/**
 * What is known of a version. The folders of its project are looked into where something is in its place alone: to
 * list them for each would take longer the more there are.
 */
async function knownOf({ store, catalog, find }: Parts, ref: Ref): Promise<GenerationRow | null> {
  const row = catalog.generations.find(ref.projectId, ref.version);
  return row === null && store.has(ref) ? find(ref) : row;
}

/** What is here stays: it is the same, or on its way to the cloud. */
function compare(row: GenerationRow, { ref, digest }: Restorable): 'there' {
  const isSame = digest === null || row.digest === digest || row.digest === null;
  if (isSame || row.status === 'pending') return 'there';
  const state = 'this host holds other content under its name';
  throw new StorageError('conflict', `Cannot restore ${formatRef(ref)}: ${state}`);
}

/** What was taken out of the store, being in the cloud, is there again. */
async function putBack(
  parts: Parts,
  given: Restorable,
  signal: AbortSignal | undefined,
): Promise<number | 'there'> {
  const unlock = await parts.locks.lock(given.ref).catch(isBusy(given.ref));
  try {
    if (unlock === null || parts.store.has(given.ref)) return 'there';
    return await fetchAndInstall(parts, given, signal);
  } finally {
    await unlock?.();
  }
}

async function fetchAndInstall(
  parts: Parts,
  given: Restorable,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { catalog, write, now } = parts;
  const { ref, recorded } = given;
  const { key, installed } = await fetchBest(parts, given, signal);
  if (installed === null) {
    await adopt(parts, ref);
    return given.bytes ?? 0;
  }
  const { manifest, archive, change } = installed;
  const { facts, createdAt } = factsOf(parts.store, manifest, archive);
  // The database knows whose it is.
  const found = { facts: recorded === null ? facts : { ...facts, ownerId: null }, createdAt };
  await write(() => {
    if (recorded === null) noteFound(catalog, ref, found, key, now());
    else noteRestored(catalog, ref, found, { ...recorded, objectKey: key }, now());
    noteChange(catalog, ref.projectId, change);
  });
  return archive.bytes;
}

/** Of several contents that which it has to hold; where nobody knows which that is, the one that was sent last. */
async function fetchBest(
  parts: Parts,
  given: Restorable,
  signal: AbortSignal | undefined,
): Promise<ObjectPlace & { installed: Installed | null }> {
  let failure: unknown = null;
  const { places, digest } = given;
  for (const place of digest === null ? places.slice(0, 1) : places) {
    try {
      return { ...place, installed: await fetchFrom(parts, given, place, signal) };
    } catch (error) {
      const isAnother = error instanceof StorageError && OTHER_CONTENT.has(error.code);
      if (!isAnother) throw error;
      failure = error;
    }
  }
  throw failure ?? absent(given.ref);
}

/** What is said of an archive that is not the one, or is gone. */
const OTHER_CONTENT: ReadonlySet<string> = new Set(['corrupt', 'not_found']);

/** Somebody else restores it, or works on it for long: that is of this one alone. */
function isBusy(ref: Ref): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof StorageError) || error.code !== 'unavailable') throw error;
    const state = 'other work on it is under way, restore it again';
    throw new StorageError('conflict', `Cannot restore ${formatRef(ref)}: ${state}`, {
      cause: error,
    });
  };
}

/**
 * Downloads an archive, and puts it in place; again where it did not come, or came damaged.
 *
 * @returns `null` where it is of the Python system: its files are in place
 */
async function fetchFrom(
  parts: Parts,
  given: Restorable,
  { key, bucket }: ObjectPlace,
  signal: AbortSignal | undefined,
): Promise<Installed | null> {
  const { store, download, backoff } = parts;
  const { ref, digest, sha256 } = given;
  for (let failures = 0; ; ) {
    const folder = store.staging.pathToPlace();
    try {
      mkdirSync(folder, PRIVATE_FOLDER);
      const arrived = await download(key, inGeneration.archive(folder), bucket);
      if (sha256 !== null && arrived.sha256 !== sha256) {
        const state = 'what arrived is not what was recorded';
        throw new StorageError('corrupt', `Cannot restore ${formatRef(ref)}: ${state}`);
      }
      const installed = await putInPlace(store, ref, folder, digest);
      if (installed === null) await store.staging.drop(folder);
      return installed;
    } catch (error) {
      await store.staging.drop(folder);
      const known = fromFileSystem(error, `restore ${formatRef(ref)}`);
      failures++;
      if (known instanceof StorageError && known.code === 'not_found') throw absent(ref, known);
      if (!mayComeYet(known, failures)) throw known;
      await sleep(backoff(failures), null, signal === undefined ? {} : { signal });
    }
  }
}

async function putInPlace(store: Store, ref: Ref, folder: string, digest: string | null) {
  try {
    return await store.archives.install(ref, folder, digest);
  } catch (error) {
    // The Python system wrote no hashes down, and nobody has looked into it yet.
    const mayBeOld = digest === null && error instanceof StorageError && error.code === 'corrupt';
    if (!mayBeOld) throw error;
    await store.legacy.unpack(ref, inGeneration.archive(folder)).catch((other: unknown) => {
      throw other instanceof StorageError && other.code === 'corrupt' ? error : other;
    });
    return null;
  }
}

/** The cloud may be back in a moment, and what came damaged may come whole. */
function mayComeYet(error: unknown, failures: number): boolean {
  if (!(error instanceof StorageError)) return false;
  if (error.code === 'corrupt') return failures < 2;
  return error.retryable && failures < ATTEMPTS;
}

function absent(ref: Ref, cause?: StorageError): StorageError {
  const message = `Cannot restore ${formatRef(ref)}: it is not in the bucket`;
  return new StorageError('not_found', message, { cause });
}

function taken(ref: Ref, row: GenerationRow): StorageError {
  const state = `here the version is held by generation "${refOf(row).generationId}"`;
  return new StorageError('conflict', `Cannot restore ${formatRef(ref)}: ${state}`);
}
