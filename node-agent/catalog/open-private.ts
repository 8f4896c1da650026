import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { fromFileSystem } from '../disk/file-errors.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import { fromSqlite } from './errors.ts';

/**
 * Opens a database of SQLite's, made for its owner alone; what SQLite makes beside it is too.
 *
 * @throws StorageError what file system and SQLite say
 */
export function openPrivate(path: string): DatabaseSync {
  try {
    // Where it is open in this process already, to close it once more would take the locks away.
    if (!existsSync(path)) closeSync(openSync(path, 'a', PRIVATE_FILE));
    return new DatabaseSync(path);
  } catch (error) {
    throw fromSqlite(fromFileSystem(error, 'open the store'), path);
  }
}
