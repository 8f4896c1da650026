import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { unpackArchive } from '../archive/unpack.ts';
import { type Limits, type ManifestEntry, parseManifest, StorageError } from '../contract.ts';
import { syncFolder } from './durable.ts';
import { inGeneration } from './layout.ts';

/** Makes everything in the folder of a generation last. Until then the archive vouches for it. */
export function syncTree(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) syncFolder(path);
    else if (entry.isFile()) syncFile(path);
  }
  syncFolder(folder);
}

function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Compares a tree with its manifest, byte for byte, and makes it again from the archive where they
 * differ: a power loss may have taken what was not synced.
 *
 * @param scratch a folder to make and remove, on the same file system
 * @returns whether it had to be made again
 * @throws StorageError `corrupt` where the archive cannot help either
 */
export async function repairTree(input: {
  folder: string;
  scratch: string;
  limits: Limits;
}): Promise<boolean> {
  const { folder, scratch, limits } = input;
  if (await isWhole(folder)) return false;
  try {
    await unpackArchive({ archive: inGeneration.archive(folder), folder: scratch, limits });
    rmSync(inGeneration.source(folder), { recursive: true, force: true });
    renameSync(inGeneration.source(scratch), inGeneration.source(folder));
    renameSync(inGeneration.manifest(scratch), inGeneration.manifest(folder));
    syncTree(folder);
    return true;
  } catch (error) {
    if (error instanceof StorageError || (error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw error;
    }
    throw new StorageError('corrupt', `Cannot repair "${folder}": it has no archive`, {
      cause: error,
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function isWhole(folder: string): Promise<boolean> {
  try {
    const path = inGeneration.manifest(folder);
    const manifest = parseManifest(readFileSync(path, 'utf8'), path);
    for (const entry of manifest.entries ?? []) {
      if (!(await hasContent(join(inGeneration.source(folder), entry.path), entry))) return false;
    }
    return true;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (missing || error instanceof StorageError) return false;
    throw error;
  }
}

async function hasContent(path: string, entry: ManifestEntry): Promise<boolean> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest('hex') === entry.sha256;
}
