import { existsSync, renameSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from '../contract.ts';
import { Catalog } from './catalog.ts';
import { fromSqlite, isBusy } from './errors.ts';
import { Instance } from './instance.ts';
import { openPrivate } from './open-private.ts';
import { OlderSchema } from './schema.ts';

/** How long an opening waits for other processes, in milliseconds. */
const WAIT_MS = 30_000;
const POLL_MS = 20;

export type Opened = Readonly<{
  instance: Instance;
  catalog: Catalog;
  /** Instances that ended without closing. */
  gone: readonly string[];
}>;

/**
 * Joins the instances on a store and opens its catalog. One that is damaged is set aside, and an
 * empty one takes its place: it is an index of the disk. One process at a time does this, so that
 * whoever is found running has the catalog open already.
 *
 * @throws StorageError `corrupt` where the catalog is damaged and others have it open
 */
export async function openCatalog(paths: {
  catalog: string;
  instances: string;
  openLock: string;
  /** Whether it is a copy, which was made while others may have written: every page is looked at. */
  isCopy: boolean;
  /** Asked on a full disk; says whether there is some room then. */
  makeRoom: () => boolean;
  /** Told where a damaged catalog was set aside. */
  onProblem: (error: unknown) => void;
}): Promise<Opened> {
  const lock = openPrivate(paths.openLock);
  try {
    await takeLock(lock, paths.openLock);
    const instance = new Instance(paths.instances);
    try {
      const { running, gone } = instance.others();
      const mustCheck = paths.isCopy || gone.length > 0;
      const catalog = await open(paths, running.length > 0, mustCheck);
      return { instance, catalog, gone };
    } catch (error) {
      instance.close();
      throw error;
    }
  } finally {
    lock.close();
  }
}

/** @throws StorageError `unavailable` where another process is at it for too long */
async function takeLock(lock: DatabaseSync, path: string): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    try {
      lock.exec('pragma busy_timeout = 0; begin exclusive');
      return;
    } catch (cause) {
      const known = fromSqlite(cause, path);
      if (!isBusy(known)) throw known;
      if (performance.now() > deadline) {
        const message = 'Cannot open the store: another process has been opening it for too long';
        throw new StorageError('unavailable', message, { cause });
      }
    }
    await sleep(POLL_MS);
  }
}

type Paths = Readonly<{
  catalog: string;
  makeRoom: () => boolean;
  onProblem: (error: unknown) => void;
}>;

async function open(paths: Paths, isShared: boolean, mustCheck: boolean): Promise<Catalog> {
  const { catalog: path, makeRoom, onProblem } = paths;
  try {
    return await openChecked(path, makeRoom, mustCheck);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'corrupt') throw error;
    if (isShared) {
      throw new StorageError(
        'corrupt',
        `Cannot open "${path}": ${stateOf(error)}, and other processes have it open. Stop them, then start again`,
        { cause: error },
      );
    }
    const aside = setAside(path);
    const catalog = await openPatiently(path, makeRoom);
    onProblem(
      new StorageError(
        'corrupt',
        `Cannot use the catalog "${path}": ${stateOf(error)}. It was set aside as "${aside}" and is made again from the disk`,
        { cause: error },
      ),
    );
    return catalog;
  }
}

function stateOf(error: StorageError): string {
  return error instanceof OlderSchema ? 'an older version made it' : 'it is damaged';
}

/** @param mustCheck as after an unclean stop: damage is found now, not in a month */
async function openChecked(
  path: string,
  makeRoom: () => boolean,
  mustCheck: boolean,
): Promise<Catalog> {
  const catalog = await openPatiently(path, makeRoom);
  try {
    if (mustCheck) catalog.check();
    return catalog;
  } catch (error) {
    catalog.close();
    throw error;
  }
}

/** Other processes may write while this one opens it. */
async function openPatiently(path: string, makeRoom: () => boolean): Promise<Catalog> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    try {
      return new Catalog(path, makeRoom);
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
    await sleep(POLL_MS);
  }
}

function setAside(path: string): string {
  let aside = `${path}.damaged`;
  for (let n = 2; existsSync(aside); n++) aside = `${path}.damaged-${n}`;
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  return aside;
}
