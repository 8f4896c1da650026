import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { FileEntry } from '../contract.ts';
import type { LocalGeneration } from './get.ts';

/**
 * The source files of a generation. Those of the Python system are read, for it kept no hashes.
 *
 * @param open opens one of them by its path
 */
export async function listFiles(
  { manifest }: LocalGeneration,
  open: (path: string) => Promise<FileHandle>,
): Promise<FileEntry[]> {
  if (manifest.entries !== undefined) return manifest.entries;
  const files: FileEntry[] = [];
  for (const path of manifest.files) {
    const handle = await open(path);
    const { size, mode } = await handle.stat();
    const hash = createHash('sha256');
    // Which closes it.
    await pipeline(handle.createReadStream(), hash);
    files.push({ path, size, sha256: hash.digest('hex'), mode: (mode & 0o777) | 0o600 });
  }
  return files;
}
