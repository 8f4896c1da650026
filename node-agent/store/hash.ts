import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { type ManifestEntry, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { isMissing } from '../disk/list-folder.ts';

export function sha256Hex(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** What an archive is: sha256 for what is recorded, MD5 for what the eTag says. */
export type ArchiveFacts = Readonly<{ bytes: number; sha256: string; md5: string }>;

const PIECE_BYTES = 256 * 1024;

/** Hashes a file in pieces, each read into the same memory: of a stream's the collector lets tens of MB pile up. */
export async function hashFile(path: string): Promise<ArchiveFacts> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  const handle = await open(path).catch((error: unknown) => {
    throw isMissing(error) ? error : fromFileSystem(error, `read "${path}"`);
  });
  let bytes = 0;
  try {
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, PIECE_BYTES, bytes);
      if (bytesRead === 0) break;
      bytes += bytesRead;
      const piece = buffer.subarray(0, bytesRead);
      sha256.update(piece);
      md5.update(piece);
    }
  } catch (error) {
    throw fromFileSystem(error, `read "${path}"`);
  } finally {
    await handle.close();
  }
  return { bytes, sha256: sha256.digest('hex'), md5: md5.digest('hex') };
}

/**
 * Reads an open file in pieces.
 *
 * @param entry what it is to be; `null` where nobody knows
 * @throws StorageError `corrupt` that names it, at the end, or at once where it is longer
 */
export async function* compared(
  handle: FileHandle,
  entry: ManifestEntry | null,
  name: string,
): AsyncGenerator<Buffer, void> {
  const differs = () =>
    new StorageError('corrupt', `Cannot read ${name}: it is not what was saved`);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of handle.createReadStream({ start: 0, autoClose: false })) {
    bytes += (piece as Buffer).length;
    if (entry !== null && bytes > entry.size) throw differs();
    hash.update(piece as Buffer);
    yield piece as Buffer;
  }
  if (entry !== null && hash.digest('hex') !== entry.sha256) throw differs();
}
