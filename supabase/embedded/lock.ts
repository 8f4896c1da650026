import { DatabaseSync } from 'node:sqlite';

/**
 * Holds a folder for this process alone. The lock is the kernel's (SQLite's, on a file in the
 * folder): it ends with the process, however that ends, so that no stale one is ever left.
 *
 * @throws Error where another process holds it
 */
export function lockFolder(folder: string): { release(): void } {
  const database = new DatabaseSync(`${folder}/lock`);
  try {
    database.exec('pragma busy_timeout = 0; begin exclusive');
  } catch (cause) {
    database.close();
    throw new Error(`Cannot use "${folder}": another embedded stack is running on it`, { cause });
  }
  return { release: () => database.close() };
}
