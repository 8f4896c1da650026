import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { FileEntry } from './contract.ts';
import type { LocalGeneration } from './types.ts';

/** The source files of a generation. Those of the Python system are read, for it kept no hashes. */
export async function listFiles({ manifest, sourcePath }: LocalGeneration): Promise<FileEntry[]> {
  if (manifest.entries !== undefined) return manifest.entries;
  const files: FileEntry[] = [];
  for (const path of manifest.files) {
    const file = join(sourcePath, path);
    const { size, mode } = await stat(file);
    const hash = createHash('sha256');
    await pipeline(createReadStream(file), hash);
    files.push({ path, size, sha256: hash.digest('hex'), mode: (mode & 0o777) | 0o600 });
  }
  return files;
}
