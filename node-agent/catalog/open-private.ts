import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { PRIVATE_FILE } from '../disk/private.ts';

/** Opens a database of SQLite's, made for its owner alone; what SQLite makes beside it is too. */
export function openPrivate(path: string): DatabaseSync {
  // Where it is open in this process already, to close it once more would take the locks away.
  if (!existsSync(path)) closeSync(openSync(path, 'a', PRIVATE_FILE));
  return new DatabaseSync(path);
}
