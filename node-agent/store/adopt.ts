import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { formatManifest, type ReadFile } from '../archive/pack.ts';
import {
  type CompleteManifest,
  digestText,
  isComplete,
  type Limits,
  type Manifest,
  parseManifest,
  StorageError,
} from '../contract.ts';
import { syncPathHere } from './durable.ts';
import { sha256Hex } from './hash.ts';
import { inGeneration } from './layout.ts';
import { type Inventory, NOTHING, takeInventory } from './source.ts';
import { lanesFor, type Parallel, writeArchive } from './stage.ts';
import { syncTree } from './tree.ts';

/**
 * Gives a generation that the Python system left what those of ours have: sizes and hashes of its
 * files, and an archive. Its files stay as they are; the manifest is written last and is the commit.
 * What lies there and is not in its manifest was left behind by an earlier save, and is no part of it.
 *
 * @param scratch a folder to make and remove, on the same file system
 * @throws StorageError `corrupt` for a file that is missing, `invalid_input` that names a path
 */
export async function adoptTree(
  input: { folder: string; scratch: string; limits: Limits } & Parallel,
): Promise<void> {
  const { folder, scratch, limits } = input;
  const path = inGeneration.manifest(folder);
  const old = parseManifest(readFileSync(path, 'utf8'), path);
  if (isComplete(old)) return;
  const source = take(inGeneration.source(folder), old.files, limits);
  const artifacts = holdsFiles(inGeneration.artifacts(folder))
    ? take(inGeneration.artifacts(folder), null, limits)
    : NOTHING;
  const manifest = complete(old, source, artifacts);
  mkdirSync(scratch);
  try {
    const read: ReadFile = (kind, name) => (kind === 'source' ? source : artifacts).read(name);
    await writeArchive(scratch, manifest, read, lanesFor(input));
    writeFileSync(inGeneration.manifest(scratch), formatManifest(manifest));
    syncTree(folder);
    syncTree(scratch);
    for (const part of ['archiveFacts', 'blockIndex', 'archive', 'manifest'] as const) {
      const made = inGeneration[part](scratch);
      if (existsSync(made)) renameSync(made, inGeneration[part](folder));
    }
    syncPathHere(folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** @param paths those that belong to it; `null`: all that lie there */
function take(folder: string, paths: readonly string[] | null, limits: Limits): Inventory {
  if (paths?.length === 0) return NOTHING;
  const missing = paths?.find((path) => !lstatSync(join(folder, path), { throwIfNoEntry: false }));
  if (missing !== undefined) {
    throw new StorageError('corrupt', `Cannot migrate "${folder}": "${missing}" is missing`);
  }
  return takeInventory({ kind: 'listed', folder, paths }, limits);
}

function complete(old: Manifest, source: Inventory, artifacts: Inventory): CompleteManifest {
  return {
    ...old,
    file_count: source.entries.length,
    total_size_bytes: source.totalBytes,
    files: source.entries.map((entry) => entry.path),
    schema: 1,
    digest: sha256Hex(digestText(source.entries, artifacts.entries)),
    entries: source.entries,
    artifacts: artifacts.entries,
  };
}

/** Whether there is such a folder, with anything in it but folders: empty ones are no artifacts. */
function holdsFiles(path: string): boolean {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return false;
  return readdirSync(path, { recursive: true, withFileTypes: true }).some(
    (entry) => !entry.isDirectory(),
  );
}
