/** What SQLite says, in the words of the contract. */
import { accessSync, closeSync, constants, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { whyFull } from '../disk/room.ts';

const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** The low byte is the code, the rest says more. */
function sqliteCode(error: unknown): number {
  return ((error as { errcode?: number } | null)?.errcode ?? 0) & 0xff;
}

/** Whether others keep the catalog busy. */
export function isBusy(error: unknown): boolean {
  return error instanceof StorageError && sqliteCode(error.cause) === SQLITE_BUSY;
}

/**
 * Translates what SQLite says, once, where it enters.
 *
 * @param path of the database
 */
export function fromSqlite(error: unknown, path: string): unknown {
  if (error instanceof StorageError) return error;
  if ((error as NodeJS.ErrnoException | null)?.code === 'ERR_INVALID_STATE') {
    return new StorageError('unavailable', 'Cannot use the catalog: the storage is closed', {
      cause: error,
    });
  }
  const code = sqliteCode(error);
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    return new StorageError(
      'corrupt',
      'Cannot use the catalog: it is damaged. The next start makes it again from the disk',
      { cause: error },
    );
  }
  if (code === SQLITE_FULL) {
    return new StorageError('disk_full', 'Cannot write the catalog: the disk is full', {
      cause: error,
    });
  }
  if (code === SQLITE_READONLY || code === SQLITE_CANTOPEN) {
    return unwritable(path, error);
  }
  if (code === SQLITE_IOERR) {
    const full = fullAt(path, error);
    if (full !== null) return full;
    return new StorageError('unavailable', 'Cannot use the catalog: the disk fails', {
      cause: error,
    });
  }
  if (code === SQLITE_BUSY) {
    return new StorageError('unavailable', 'Cannot write the catalog: others keep it busy', {
      cause: error,
    });
  }
  return error;
}

/** SQLite does not say which of its files it cannot have, nor why: the file system does. */
function unwritable(path: string, cause: unknown): unknown {
  try {
    // Not the file itself: to close it would take its locks away.
    closeSync(openSync(dirname(path), 'r'));
  } catch (error) {
    return fromFileSystem(error, 'open the catalog');
  }
  // Nor that a file which it needs beside it could not be made.
  const full = fullAt(path, cause);
  if (full !== null) return full;
  for (const at of [path, `${path}-wal`, `${path}-shm`, dirname(path)]) {
    try {
      accessSync(at, constants.W_OK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      return fromFileSystem(error, 'write the catalog');
    }
  }
  const message = `Cannot write the catalog: "${path}" cannot be opened, or not be written`;
  return new StorageError('forbidden', message, { cause });
}

/** A full disk makes SQLite say that it fails, or that something cannot be opened. */
function fullAt(path: string, cause: unknown): StorageError | null {
  try {
    const state = whyFull(dirname(path));
    if (state === null) return null;
    return new StorageError('disk_full', `Cannot write the catalog: ${state}`, { cause });
  } catch {
    // It is not there, or cannot be looked at: that is something else.
    return null;
  }
}
