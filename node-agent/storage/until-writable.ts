import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeFolders } from '../disk/make-folders.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import { OWN_FOLDER } from '../store/layout.ts';

/** How often it is tried, in milliseconds. */
const EVERY_MS = 5000;
/** A catalog needs that much to be opened. */
const BYTES = 1024 * 1024;

/** Waits until something can be written to a store again, or the signal ends it. */
export async function untilWritable(storePath: string, signal: AbortSignal): Promise<void> {
  const folder = join(storePath, OWN_FOLDER);
  const path = join(folder, `.try-${process.pid}`);
  while (!signal.aborted) {
    await sleep(EVERY_MS, null, { signal }).catch(() => {});
    try {
      makeFolders(folder);
      await writeFile(path, randomBytes(BYTES), { mode: PRIVATE_FILE });
      return;
    } catch {
      // Not yet.
    } finally {
      await rm(path, { force: true }).catch(() => {});
    }
  }
}
