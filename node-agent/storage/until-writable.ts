import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeFolders } from '../disk/make-folders.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { OWN_FOLDER } from '../store/layout.ts';

/** How often it is tried, in milliseconds. */
const EVERY_MS = 5000;
/** A catalog needs that much to be opened. */
const BYTES = 1024 * 1024;
/** And so many files: of the catalog, of the instance, of the reserve, each with what it is written by. */
const FILES = 16;

/** Waits until something can be written to a store again, or the signal ends it. */
export async function untilWritable(storePath: string, signal: AbortSignal): Promise<void> {
  const own = join(storePath, OWN_FOLDER);
  const folder = join(own, `.try-${process.pid}`);
  while (!signal.aborted) {
    await sleep(EVERY_MS, null, { signal }).catch(() => {});
    try {
      makeFolders(own);
      await mkdir(folder, PRIVATE_FOLDER);
      for (let i = 0; i < FILES; i++) {
        const content = randomBytes(i === 0 ? BYTES : 0);
        await writeFile(join(folder, String(i)), content, { mode: PRIVATE_FILE });
      }
      return;
    } catch {
      // Not yet.
    } finally {
      await rm(folder, { recursive: true, force: true }).catch(() => {});
    }
  }
}
