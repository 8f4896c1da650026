import { existsSync, lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { formatManifest, type ReadFile } from '../../archive/pack.ts';
import {
  type CompleteManifest,
  digestText,
  isComplete,
  isReserved,
  type Limits,
  type Manifest,
  StorageError,
} from '../../contract.ts';
import { PRIVATE_FOLDER } from '../../disk/private.ts';
import { readManifest } from '../../disk/read-manifest.ts';
import { syncPathHere } from '../durable.ts';
import { sha256Hex } from '../hash.ts';
import { type Inventory, NOTHING, takeInventory } from '../inventory.ts';
import { markLaidOut } from '../lay-out.ts';
import { inGeneration } from '../layout.ts';
import { type LeftOut, LeftOutCount, NOTHING_LEFT_OUT } from '../left-out.ts';
import { lanesFor, NEW_FILE, type Parallel, writeArchive } from '../stage.ts';
import { syncTree } from '../tree.ts';

/**
 * Gives a generation that the Python system left what those of ours have: sizes and hashes of its
 * files, and an archive. Its files stay as they are; the manifest is written last and is the commit.
 * What lies there and is not in its manifest was left behind by an earlier save, and is no part of it.
 * Of artifacts, which it does not name, all are taken that a save of their folder would take.
 *
 * @param root of the store; the folder is relative to it
 * @param scratch a folder to make and remove, on the same file system
 * @returns what was left out, of the artifacts too
 * @throws StorageError `corrupt` for a file that is missing, `invalid_input` that names a path
 */
export async function convertTree(
  input: { root: string; folder: string; scratch: string; limits: Limits } & Parallel,
): Promise<LeftOut> {
  const { root, scratch, limits } = input;
  const folder = join(root, input.folder);
  const old = readManifest({ root, path: inGeneration.manifest(input.folder) });
  if (isComplete(old)) return NOTHING_LEFT_OUT;
  const leftOut = new LeftOutCount();
  const files = old.files.filter((path) => !isReserved(path));
  for (const path of old.files) if (isReserved(path)) leftOut.add(path, 'reserved');
  const source = takeListed(root, inGeneration.source(input.folder), files, limits);
  const artifacts = takeArtifacts(inGeneration.artifacts(folder), limits);
  const manifest = complete({ ...old, files }, source, artifacts);
  mkdirSync(scratch, PRIVATE_FOLDER);
  try {
    const read: ReadFile = (kind, name) => (kind === 'source' ? source : artifacts).read(name);
    await writeArchive(scratch, manifest, read, lanesFor(input));
    writeFileSync(inGeneration.manifest(scratch), formatManifest(manifest), NEW_FILE);
    // What lies beside the files of the manifest is nowhere else.
    markLaidOut(scratch, {
      ...{ digest: manifest.digest, bytes: manifest.total_size_bytes },
      kept: true,
    });
    syncFiles(inGeneration.source(folder), source);
    syncFiles(inGeneration.artifacts(folder), artifacts);
    syncTree(scratch);
    // First: once there is an archive, a tree that is not marked is laid out anew.
    renameSync(inGeneration.tree(scratch), inGeneration.tree(folder));
    syncPathHere(folder);
    for (const part of ['archiveFacts', 'archive', 'manifest'] as const) {
      const made = inGeneration[part](scratch);
      if (existsSync(made)) renameSync(made, inGeneration[part](folder));
    }
    syncPathHere(folder);
    leftOut.addAll(artifacts.leftOut);
    return leftOut.all;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function takeListed(
  root: string,
  folder: string,
  paths: readonly string[],
  limits: Limits,
): Inventory {
  if (paths.length === 0) return NOTHING;
  const files = paths.map((path) => ({ path }));
  return takeInventory({ kind: 'listed', root, folder, files }, limits);
}

/** None where there is no such folder, or nothing in it. */
function takeArtifacts(folder: string, limits: Limits): Inventory {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) return NOTHING;
  if (!stat.isDirectory()) {
    const what = stat.isSymbolicLink() ? 'a symbolic link' : 'no folder';
    throw new StorageError('invalid_input', `Cannot migrate "${folder}": it is ${what}`);
  }
  const exclude = { patterns: [], defaults: true, gitignore: false };
  const source = { kind: 'folder', folder, exclude, links: 'skip', own: [], skip: [] } as const;
  return takeInventory(source, limits, { mayBeEmpty: true });
}

/** Makes the files of an inventory last, and the folders that they lie in. */
function syncFiles(root: string, { entries }: Inventory): void {
  const folders = new Set<string>();
  for (const { path } of entries) {
    syncPathHere(join(root, path));
    for (let folder = dirname(path); !folders.has(folder); folder = dirname(folder)) {
      folders.add(folder);
    }
  }
  for (const folder of folders) syncPathHere(join(root, folder));
}

/** What it had stays, its files in their order. */
function complete(old: Manifest, source: Inventory, artifacts: Inventory): CompleteManifest {
  return {
    ...old,
    file_count: source.entries.length,
    total_size_bytes: source.totalBytes,
    schema: 1,
    digest: sha256Hex(digestText(source.entries, artifacts.entries)),
    entries: source.entries,
    artifacts: artifacts.entries,
  };
}
