import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Cache } from '../cache/cache.ts';
import { openCatalog } from '../catalog/open.ts';
import { DEFAULT_LIMITS, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { createOnProblem, createTell } from '../events/tell.ts';
import { makeFolder } from '../store/durable.ts';
import { Layout, OWN_FOLDER } from '../store/layout.ts';
import { Store } from '../store/store.ts';
import { type HeavyWork, Workers } from '../store/workers.ts';
import { recover } from '../upkeep/recover.ts';
import { assemble } from './assemble.ts';
import type { StorageOptions } from './options.ts';
import { Storage } from './storage.ts';

/** Opens the storage of a generator host. Several processes may have the same one open. */
export function openStorage(given: StorageOptions): Promise<Storage> {
  return openStorageOn(given, () => new Workers());
}

/** What keeps a catalog from being written: nothing can be noted, and all can be read. */
const UNWRITABLE: ReadonlySet<string> = new Set(['disk_full', 'forbidden']);

/**
 * Opens the storage to read it, also where nothing can be written there, as on a full disk: a catalog of
 * what lies on disk is made elsewhere then, for as long as it is open.
 *
 * @returns also why it had to be, and what removes that; `null` where it had not
 */
export async function openToRead(given: StorageOptions): Promise<{
  storage: Storage;
  instead: { reason: StorageError; remove(): Promise<void> } | null;
}> {
  const options = { ...given, background: false };
  try {
    return { storage: await openStorage(options), instead: null };
  } catch (error) {
    if (!(error instanceof StorageError) || !UNWRITABLE.has(error.code)) throw error;
    const own = await mkdtemp(join(tmpdir(), 'codebegen-storage-'));
    const remove = () => rm(own, { recursive: true, force: true });
    try {
      const storage = await openStorageOn(options, () => new Workers(), own);
      return { storage, instead: { reason: error, remove } };
    } catch {
      await remove();
      throw error;
    }
  }
}

/**
 * As {@link openStorage}.
 *
 * @param makeWork who does the heavy work
 * @param own where catalog and staging are; left out: in the store
 */
export async function openStorageOn(
  given: StorageOptions,
  makeWork: () => HeavyWork,
  own?: string,
): Promise<Storage> {
  if (process.platform === 'win32') {
    throw new StorageError('invalid_input', 'Cannot open the storage: Windows is not supported');
  }
  const options = { ...given, storePath: resolve(given.storePath) };
  const layout = new Layout(options.storePath, own);
  checkLength(layout);
  const opened: (() => unknown)[] = [];
  try {
    await makeFolder(layout.staging, own ?? layout.root);
    return await openParts(options, layout, makeWork, opened);
  } catch (error) {
    for (const close of opened.reverse()) await close();
    throw fromFileSystem(error, `open the store "${options.storePath}"`);
  }
}

async function openParts(
  options: StorageOptions,
  layout: Layout,
  makeWork: () => HeavyWork,
  opened: (() => unknown)[],
): Promise<Storage> {
  const now = options.now ?? Date.now;
  let ownerOf: (projectId: string) => string | null = () => null;
  const onEvent = createTell(options.onEvent, { now, ownerOf: (id) => ownerOf(id) });
  const onProblem = createOnProblem(onEvent, options.onProblem);
  const { instance, catalog, gone } = await openCatalog({
    catalog: layout.catalog,
    instances: layout.instances,
    openLock: layout.openLock,
    onProblem,
  });
  opened.push(() => instance.close(false));
  opened.push(() => catalog.close());
  ownerOf = (projectId) => catalog.projects.ownerOf(projectId);
  const limits = options.limits ?? DEFAULT_LIMITS;
  const workers = makeWork();
  opened.push(() => workers.close());
  const store = new Store(layout, limits, instance.id, workers);
  const cache = new Cache(options.cache, { limits, work: workers, now, instanceId: instance.id });
  const disk = { store, catalog, instance, cache, workers, now, onProblem };
  await recover(disk);
  // Instances of the store itself are not known there.
  if (!layout.isApart) await cache.entries.sweepStaging((id) => instance.isGone(id));
  for (const id of gone) instance.forget(id);
  const parts = assemble(options, { ...disk, limits, onEvent });
  parts.background.start();
  return new Storage(parts);
}

/** SQLite takes no longer path of a file: `MAX_PATHNAME` in its `os_unix.c`. */
const MAX_DATABASE_PATH = 512;
/** The longest of ours, without the root: the lock of an instance, with the journal beside it. */
const OWN_PATH = `/${OWN_FOLDER}/instances/${'0'.repeat(36)}.lock-journal`;

/** @throws StorageError `invalid_input` */
function checkLength({ root }: Layout): void {
  const most = MAX_DATABASE_PATH - OWN_PATH.length;
  const length = Buffer.byteLength(root);
  if (length <= most) return;
  throw new StorageError(
    'invalid_input',
    `Cannot open the store "${root}": its path has ${length} bytes, at most ${most} can be used. Set FILE_STORAGE_PATH to a shorter one`,
  );
}
