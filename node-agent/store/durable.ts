import { closeSync, existsSync, fsync, fsyncSync, openSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { StorageError } from '../contract.ts';
import { makeFolders } from '../make-folders.ts';

const syncFile = promisify(fsync);

/**
 * Makes a file, or the entries of a folder, last. The disk is waited for in another thread; to open
 * what was used just now takes less time than the way there.
 */
export async function syncPath(path: string): Promise<void> {
  const fd = openSync(path, 'r');
  try {
    await syncFile(fd);
  } finally {
    closeSync(fd);
  }
}

/** The same in this thread: for workers that have nothing else to do. To wake another takes as long. */
export function syncPathHere(path: string): void {
  const fd = openSync(path, 'r');
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
    const handle = await open(temporary, 'wx');
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

/** Translates what the file system says, once, where it enters. */
export function fromFileSystem(error: unknown, doing: string): unknown {
  if (error instanceof StorageError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StorageError('disk_full', `Cannot ${doing}: the disk is full`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const path = (error as NodeJS.ErrnoException).path ?? 'a file';
    return new StorageError('forbidden', `Cannot ${doing}: "${path}" is not permitted (${code})`, {
      cause: error,
    });
  }
  const { path = 'a path', syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === 'ENOENT' && syscall === 'mkdir') {
    return new StorageError('invalid_input', `Cannot ${doing}: "${path}" cannot be made (ENOENT)`, {
      cause: error,
    });
  }
  if (code === 'ENOTDIR' || code === 'EEXIST' || code === 'EISDIR') {
    return new StorageError('invalid_input', `Cannot ${doing}: "${path}" is in the way (${code})`, {
      cause: error,
    });
  }
  return error;
}
