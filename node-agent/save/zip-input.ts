import { readZip } from '../archive/read-zip.ts';
import { type Limits, StorageError, type TarEntry } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { Spool } from '../disk/spool.ts';

/** Bytes that a zip has for each entry beside its content, where its name is the longest. */
const ENTRY_BYTES = 4096;

/**
 * Reads the entries of a zip that streams in, once it is whole.
 *
 * @param spool where it is kept
 * @throws StorageError `too_large` where it is longer than any that could be saved, `disk_full`; as
 *   `readZip` does; whatever the input throws
 */
export async function* readSpooledZip(
  zip: AsyncIterable<Uint8Array>,
  spool: Spool,
  limits: Limits,
): AsyncGenerator<TarEntry, void> {
  const most = limits.totalBytes + limits.entries * ENTRY_BYTES;
  let size = 0;
  try {
    for await (const piece of zip) {
      size += piece.length;
      if (size > most) {
        throw new StorageError('too_large', `Cannot take the zip: it has over ${most} bytes`);
      }
      await spool.run.push(piece);
    }
    await spool.run.flush();
  } catch (error) {
    throw fromFileSystem(error, 'keep the zip');
  }
  yield* readZip(spool.fd);
}
