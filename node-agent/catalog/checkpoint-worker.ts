/** What runs in a thread of its own: it waits for the disk. */
import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** A log that is longer is begun anew: whoever writes waits for that, without holding up the event loop. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;
/** How long it waits for readers then, in milliseconds. */
const WAIT_MS = 1000;

/** Copies what is committed from the log of a database into its file, as far as nobody is in the way. */
export function checkpoint(path: string): void {
  const db = new DatabaseSync(path, { timeout: WAIT_MS });
  try {
    db.exec('pragma wal_checkpoint(passive)');
    if (statSync(`${path}-wal`).size > MAX_LOG_BYTES) db.exec('pragma wal_checkpoint(restart)');
  } finally {
    db.close();
  }
}
