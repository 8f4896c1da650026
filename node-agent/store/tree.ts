import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ReadFile } from '../archive/pack.ts';
import { unpackArchive } from '../archive/unpack.ts';
import {
  isComplete,
  type Limits,
  type Manifest,
  type ManifestEntry,
  parseManifest,
  StorageError,
} from '../contract.ts';
import { syncPathHere } from './durable.ts';
import { type ArchiveFacts, hasContent, hashFile } from './hash.ts';
import { inGeneration } from './layout.ts';
import { readChecked } from './source.ts';
import { lanesFor, type Parallel, writeArchive } from './stage.ts';

/** Makes everything in the folder of a generation last. Until then the archive vouches for it. */
export function syncTree(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory() || entry.isFile()) syncPathHere(path);
  }
  syncPathHere(folder);
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
    const archive = inGeneration.archive(folder);
    await unpackArchive({ archive, folder: scratch, limits, trusted: true });
    rmSync(inGeneration.source(folder), { recursive: true, force: true });
    renameSync(inGeneration.source(scratch), inGeneration.source(folder));
    renameSync(inGeneration.manifest(scratch), inGeneration.manifest(folder));
    const facts = await hashFile(inGeneration.archive(folder));
    writeFileSync(inGeneration.archiveFacts(folder), JSON.stringify(facts));
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

/**
 * Makes the archive of a generation again from its tree. What it is is written before it is in
 * place: it may be packed a little differently by another version of Node.
 *
 * @param scratch a folder to make and remove, on the same file system
 * @throws StorageError `corrupt` where the tree is not what the manifest says
 */
export async function repackTree(
  input: { folder: string; scratch: string } & Parallel,
): Promise<ArchiveFacts> {
  const { folder, scratch } = input;
  const path = inGeneration.manifest(folder);
  const manifest = parseManifest(readFileSync(path, 'utf8'), path);
  if (!isComplete(manifest)) {
    throw new StorageError('corrupt', `Cannot pack "${folder}": its manifest has no hashes`);
  }
  const entries = {
    source: byPath(manifest.entries),
    artifacts: byPath(manifest.artifacts),
  };
  mkdirSync(scratch);
  try {
    const read: ReadFile = (kind, name) =>
      readChecked(join(folder, kind, name), entries[kind].get(name)!);
    const facts = await writeArchive(scratch, manifest, read, lanesFor(input));
    syncTree(scratch);
    for (const part of ['archiveFacts', 'blockIndex', 'archive'] as const) {
      const made = inGeneration[part](scratch);
      if (existsSync(made)) renameSync(made, inGeneration[part](folder));
      syncPathHere(folder);
    }
    return facts;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'conflict') throw error;
    throw new StorageError('corrupt', `Cannot pack "${folder}": ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Damaged files of one generation that are named; the rest goes with them. */
const MAX_NAMED = 20;

/**
 * Reads every file of a generation, and its archive where it is kept, and compares them with the
 * hashes that were recorded.
 *
 * @returns what is the matter, a sentence each
 */
export async function checkTree(folder: string): Promise<string[]> {
  const path = inGeneration.manifest(folder);
  let manifest: Manifest;
  try {
    manifest = parseManifest(readFileSync(path, 'utf8'), path);
  } catch (error) {
    return [(error as Error).message];
  }
  const problems: string[] = [];
  for (const [kind, entries] of [
    ['source', manifest.entries ?? []],
    ['artifacts', manifest.artifacts ?? []],
  ] as const) {
    for (const entry of entries) {
      const problem = await findDamage(join(folder, kind, entry.path), entry);
      if (problem !== null) problems.push(`"${kind}/${entry.path}" ${problem}`);
      if (problems.length >= MAX_NAMED) return problems;
    }
  }
  const archive = inGeneration.archive(folder);
  if (existsSync(archive)) {
    const text = readFileSync(inGeneration.archiveFacts(folder), 'utf8');
    const { sha256 } = JSON.parse(text) as ArchiveFacts;
    if ((await hashFile(archive)).sha256 !== sha256) problems.push('the archive is another');
  }
  return problems;
}

async function findDamage(path: string, entry: ManifestEntry): Promise<string | null> {
  try {
    return (await hasContent(path, entry)) ? null : 'is not what it was';
  } catch (error) {
    return `cannot be read: ${(error as NodeJS.ErrnoException).code}`;
  }
}

function byPath(entries: readonly ManifestEntry[]): Map<string, ManifestEntry> {
  return new Map(entries.map((entry) => [entry.path, entry]));
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
