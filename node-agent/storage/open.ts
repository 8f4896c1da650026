import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { openCatalog } from '../catalog/open.ts';
import { DEFAULT_LIMITS, StorageError } from '../contract.ts';
import { fromFileSystem, isDiskFull } from '../disk/file-errors.ts';
import { isMissing } from '../disk/list-folder.ts';
import { checkOpenFiles } from '../disk/open-files.ts';
import { Reserve } from '../disk/reserve.ts';
import { isLogged, type OnEvent } from '../events/events.ts';
import { createOnProblem, createTell } from '../events/tell.ts';
import { EventFeed } from '../read/event-feed.ts';
import { makeFolder } from '../store/durable.ts';
import { Layout, OWN_FOLDER } from '../store/layout.ts';
import { Store } from '../store/store.ts';
import { type HeavyWork, Workers } from '../store/workers.ts';
import { recover } from '../upkeep/recover.ts';
import { WebhookFiles } from '../webhooks/webhook-files.ts';
import { assemble } from './assemble.ts';
import type { StorageOptions } from './options.ts';
import type { Parts } from './parts.ts';
import { Storage } from './storage.ts';

/** Opens the storage of a generator host. Several processes may have the same one open. */
export function openStorage(given: StorageOptions): Promise<Storage> {
  return openStorageOn(given, () => new Workers());
}

/** What keeps a catalog from being written: nothing can be noted, and all can be read. */
const UNWRITABLE: ReadonlySet<string> = new Set(['disk_full', 'read_only', 'forbidden']);

/** Why nothing can be written, and what removes what was made elsewhere instead. */
export type Instead = Readonly<{ reason: StorageError; remove(): Promise<void> }>;

/**
 * Opens the storage also where nothing can be written there, as on a full disk: what is in it is read
 * then, by a copy of the catalog that is elsewhere for as long as it is open, and what makes room is done.
 * What would change a generation fails with the reason, and nothing goes on in the background.
 *
 * @param prepare what has to be possible, too, for it to be used as it is
 * @returns also why it had to be; `null` where it had not
 */
export async function openAnyway(
  given: StorageOptions,
  prepare: (storage: Storage) => void = () => {},
): Promise<{ storage: Storage; instead: Instead | null }> {
  try {
    const storage = await openStorage(given);
    try {
      prepare(storage);
    } catch (error) {
      await storage.close({ drainMs: 0 });
      throw fromFileSystem(error, `use the store "${given.storePath}"`);
    }
    return { storage, instead: null };
  } catch (reason) {
    if (!(reason instanceof StorageError) || !UNWRITABLE.has(reason.code)) throw reason;
    const options = { ...given, background: false };
    for (const place of [tmpdir(), '/dev/shm']) {
      const own = await mkdtemp(join(place, 'codebegen-storage-')).catch(() => null);
      if (own === null) continue;
      const remove = () => rm(own, { recursive: true, force: true });
      try {
        await copyOwn(options.storePath, own);
        const storage = await openStorageOn(options, () => new Workers(), { own, reason });
        return { storage, instead: { reason, remove } };
      } catch {
        await remove();
      }
    }
    throw reason;
  }
}

/** What the catalog knows and the disk does not say. The log first: what is newer in the file is in no older log. */
async function copyOwn(storePath: string, own: string): Promise<void> {
  const { catalog, urlKey, epoch } = new Layout(storePath);
  for (const path of [epoch, `${catalog}-wal`, catalog, urlKey]) {
    await copyFile(path, join(own, basename(path))).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }
}

/** Where catalog and staging are, where nothing can be written to the store, and why that is so. */
export type Apart = Readonly<{ own: string; reason: StorageError }>;

/**
 * As {@link openStorage}.
 *
 * @param makeWork who does the heavy work
 */
export async function openStorageOn(
  given: StorageOptions,
  makeWork: () => HeavyWork,
  apart: Apart | null = null,
): Promise<Storage> {
  if (process.platform === 'win32') {
    throw new StorageError('invalid_input', 'Cannot open the storage: Windows is not supported');
  }
  const options = { ...given, storePath: resolve(given.storePath) };
  const layout = new Layout(options.storePath, apart?.own);
  checkLength(layout);
  checkOpenFiles();
  const reserve = new Reserve(layout.reserve);
  const open = async () => {
    const opened: (() => unknown)[] = [];
    try {
      await makeFolder(layout.staging, apart?.own ?? layout.root);
      return await openParts(options, { layout, reserve, apart }, makeWork, opened);
    } catch (error) {
      for (const close of opened.reverse()) await close();
      throw fromFileSystem(error, `open the store "${options.storePath}"`);
    }
  };
  try {
    return await open();
  } catch (error) {
    if (!isDiskFull(error) || !reserve.release()) throw error;
    return open();
  }
}

async function openParts(
  options: StorageOptions,
  { layout, reserve, apart }: { layout: Layout; reserve: Reserve; apart: Apart | null },
  makeWork: () => HeavyWork,
  opened: (() => unknown)[],
): Promise<Storage> {
  const now = options.now ?? Date.now;
  let known: Catalog | null = null;
  let feed: EventFeed | null = null;
  let webhooks: WebhookFiles | null = null;
  let parts: Parts | null = null;
  const listen: OnEvent = (event) => {
    feed?.wake();
    if (isLogged(event.kind)) parts?.background.wakeCourier();
    options.onEvent?.(event);
  };
  const onEvent = createTell(listen, {
    now,
    keeper: () => known,
    webhooks: () => webhooks,
  });
  const onProblem = createOnProblem(onEvent, options.onProblem);
  const { instance, catalog, gone } = await openCatalog({
    catalog: layout.catalog,
    instances: layout.instances,
    openLock: layout.openLock,
    isCopy: apart !== null,
    makeRoom: () => reserve.release(),
    onProblem,
  });
  // It has changed nothing that a start would have to look at, and may be tried again each second.
  opened.push(() => instance.close());
  opened.push(() => catalog.close());
  known = catalog;
  feed = new EventFeed(catalog);
  const limits = options.limits ?? DEFAULT_LIMITS;
  const workers = makeWork();
  opened.push(() => workers.close());
  const store = new Store(layout, limits, instance.id, workers);
  opened.push(() => store.staging.close());
  webhooks = new WebhookFiles(layout, store.staging);
  const cache = new Cache(options.cache, { limits, work: workers, now, instanceId: instance.id });
  const unwritable = apart?.reason ?? null;
  const disk = { store, catalog, instance, cache, workers, reserve, unwritable, now, onProblem };
  await recover(disk);
  // Instances of the store itself are not known there.
  if (!layout.isApart) await cache.entries.sweepStaging((id) => instance.isGone(id));
  for (const id of gone) instance.forget(id);
  parts = await assemble(options, {
    ...disk,
    limits,
    events: feed,
    webhookFiles: webhooks,
    onEvent,
  });
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
