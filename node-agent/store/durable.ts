import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { StorageError } from '../contract.ts';

/** Makes the entries of a folder last. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder and those above it, and makes them last. */
export function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; ; made = dirname(made)) {
    syncFolder(dirname(made));
    if (made === first) return;
  }
}

/** Replaces a small file so that a reader, now or after a crash, sees the old or the new one. */
export function writeFileDurably(path: string, text: string, temporary: string): void {
  const fd = openSync(temporary, 'wx');
  try {
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
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
  if (code === 'ENOTDIR' || code === 'EEXIST' || code === 'EISDIR') {
    const path = (error as NodeJS.ErrnoException).path ?? 'a path';
    return new StorageError('invalid_input', `Cannot ${doing}: "${path}" is in the way (${code})`, {
      cause: error,
    });
  }
  return error;
}
