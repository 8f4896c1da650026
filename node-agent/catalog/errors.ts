/** What SQLite says, in the words of the contract. */
import { StorageError } from '../contract.ts';

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

/** Translates what SQLite says, once, where it enters. */
export function fromSqlite(error: unknown): unknown {
  if (error instanceof StorageError) return error;
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
    return new StorageError('forbidden', 'Cannot write the catalog: it is not permitted here', {
      cause: error,
    });
  }
  if (code === SQLITE_IOERR) {
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
