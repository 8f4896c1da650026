import { closeSync, constants, existsSync, fsync, fsyncSync, openSync, renameSync } from 'node:fs';
import { cp, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { makeFolders } from '../disk/make-folders.ts';
import { PRIVATE_FILE } from '../disk/private.ts';

/** Makes an open file last. The disk is waited for in another thread. */
const syncFile = promisify(fsync);
/** Of a pipe that somebody put in its place nobody waits for a writer. */
const TO_SYNC = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * Moves a folder. Where it cannot be renamed, as one that lies in the lower layer of an overlay, it is
 * copied, and removed after that: a crash in between leaves both.
 *
 * @param beforeRemoval told before anything of the original goes
 */
export async function moveFolder(
  from: string,
  to: string,
  beforeRemoval: () => Promise<void> = async () => {},
): Promise<void> {
  try {
    renameSync(from, to);
    return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
  }
  await cp(from, to, { recursive: true, verbatimSymlinks: true, errorOnExist: true });
  await beforeRemoval();
  await rm(from, { recursive: true, force: true });
}

/**
 * Makes a file, or the entries of a folder, last. The disk is waited for in another thread; to open
 * what was used just now takes less time than the way there.
 */
export async function syncPath(path: string): Promise<void> {
  const fd = openSync(path, TO_SYNC);
  try {
    await syncFile(fd);
  } finally {
    closeSync(fd);
  }
}

/** The same in this thread: for workers that have nothing else to do. To wake another takes as long. */
export function syncPathHere(path: string): void {
  const fd = openSync(path, TO_SYNC);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Folders of which this process knows that they last; so many at most. */
const lasting = new Set<string>();
const MAX_LASTING = 10_000;

/**
 * Makes a folder and those above it, and makes them last. Also where they are there already:
 * another process may have made them just now.
 *
 * @param outermost the folder, above or the same, from which on others take care of it
 */
export async function makeFolder(folder: string, outermost: string): Promise<void> {
  if (lasting.has(folder) && existsSync(folder)) return;
  const first = makeFolders(folder);
  const upTo = Math.min(outermost.length, first?.length ?? Number.POSITIVE_INFINITY);
  for (let made = folder; ; made = dirname(made)) {
    await syncPath(dirname(made));
    if (made.length <= upTo) break;
  }
  if (lasting.size >= MAX_LASTING) lasting.clear();
  lasting.add(folder);
}

/** Replaces a small file so that a reader, now or after a crash, sees the old or the new one. */
export async function writeFileDurably(
  path: string,
  text: string,
  temporary: string,
): Promise<void> {
  try {
    const handle = await open(temporary, 'wx', PRIVATE_FILE);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncPath(dirname(path));
}
