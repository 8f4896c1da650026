import {
  closeSync,
  existsSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { readArchivedManifest } from '../archive/archived-manifest.ts';
import { StoredTar } from '../archive/stored-tar.ts';
import { unpackArchive } from '../archive/unpack.ts';
import { type Limits, type Manifest, StorageError } from '../contract.ts';
import { NotAFile, openInside } from '../disk/open-inside.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import type { Place } from '../disk/read-file.ts';
import { findText } from '../disk/read-manifest.ts';
import { readBootId } from './boot-id.ts';
import { sha256Hex } from './hash.ts';
import { inGeneration, listTars } from './layout.ts';

/**
 * `tree.json`: of what the tree beside it is. It is never synced, so that what another run of the
 * machine laid out is none; nor is what lies on another file system than it was laid out on.
 */
type TreeFile = Readonly<{
  boot: string;
  /** Number of the device that it was laid out on. */
  device: number;
  /** Of its content. */
  digest: string;
  /** Of its files. */
  bytes: number;
  /** The sha256 of its manifest.json. */
  manifest: string;
  /** That it lasts, and holds what the archive has not: it is never removed. */
  kept?: boolean;
}>;

export type LayOutInput = Readonly<{
  folder: string;
  scratch: string;
  limits: Limits;
  /** Whether the hash of the archive is one that was recorded. @default true */
  trusted?: boolean;
}>;

/** What is said of the tree of a generation; `null` where none is there, whole, with a content. */
export function findLaidOut(root: string, folder: string, digest: string): TreeFile | null {
  const tree = readTreeFile(root, folder);
  if (tree?.digest !== digest) return null;
  const isOfNow = tree.boot === readBootId() && tree.device === deviceOf(join(root, folder));
  const isThere = existsSync(inGeneration.source(join(root, folder)));
  return isThere && (tree.kept === true || isOfNow) ? tree : null;
}

function deviceOf(folder: string): number {
  return statSync(folder).dev;
}

/** What is said of a tree; `null` where there is none. */
export function readTreeFile(root: string, folder: string): TreeFile | null {
  try {
    const text = findText({ root, path: inGeneration.tree(folder) });
    return text === null ? null : (JSON.parse(text) as TreeFile);
  } catch (error) {
    // Half of it, after a power loss.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Says that the tree is whole whose manifest is in the folder. */
export function markLaidOut(
  folder: string,
  of: Readonly<{ digest: string; bytes: number; kept?: boolean }>,
): void {
  const manifest = sha256Hex(readFileSync(inGeneration.manifest(folder)));
  const tree: TreeFile = { boot: readBootId(), device: deviceOf(folder), manifest, ...of };
  writeFileSync(inGeneration.tree(folder), JSON.stringify(tree), { mode: PRIVATE_FILE });
}

/** The archive that lies in the folder of a generation; `null` where there is none. */
export function archiveIn(folder: string): { path: string; isLaidDown: boolean } | null {
  const [tar] = listTars(folder);
  if (tar !== undefined) return { path: join(folder, tar), isLaidDown: true };
  const path = inGeneration.archive(folder);
  return existsSync(path) ? { path, isLaidDown: false } : null;
}

/**
 * What the archive in the folder of a generation says of it; `null` where there is none.
 *
 * @param placeOf where a path is opened from
 * @throws StorageError `corrupt` where it is no archive of ours
 */
export function manifestIn(folder: string, placeOf: (path: string) => Place): Manifest | null {
  for (;;) {
    const archive = archiveIn(folder);
    if (archive === null) return null;
    const { root, path } = placeOf(archive.path);
    try {
      const fd = openInside(root, path);
      try {
        return archive.isLaidDown ? new StoredTar(fd).manifest : readArchivedManifest(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      if (!(error instanceof NotAFile)) throw error;
      // Settled just now, or replaced.
      if (error.problem === 'missing') continue;
      const message = `Cannot read "${archive.path}": it is ${error.problem}`;
      throw new StorageError('corrupt', message, { cause: error });
    }
  }
}

/**
 * Lays out the tree of a generation from its archive, every file compared. Nothing is synced. The
 * generation is to be locked: whoever settles or replaces it waits.
 *
 * @param input.scratch a folder to make and remove, on the same file system
 * @throws StorageError `corrupt` where the archive is not what it was, or there is none
 */
export async function layOutTree(input: LayOutInput): Promise<void> {
  const { folder, scratch } = input;
  const before = treeIn(folder);
  try {
    const { manifest, digest, bytes } = await unpackTo(input);
    // Whoever had no lock may come too late: other content has a tree of its own, or none.
    if (manifest.digest !== undefined && !holds(folder, digest)) return;
    // Where nobody could lock it somebody else may have been quicker: what was handed out stays.
    if (treeIn(folder) !== before && findLaidOut(realpathSync(folder), '', digest) !== null) return;
    markLaidOut(scratch, { digest, bytes });
    dropTree(folder);
    // What is asked for comes last: where it is, all of it is.
    for (const part of ['artifacts', 'manifest', 'source'] as const) {
      const made = inGeneration[part](scratch);
      if (existsSync(made)) renameSync(made, inGeneration[part](folder));
    }
    renameSync(inGeneration.tree(scratch), inGeneration.tree(folder));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Which tree is in a folder; `undefined` where none is. */
function treeIn(folder: string): number | undefined {
  return statSync(inGeneration.tree(folder), { throwIfNoEntry: false })?.ino;
}

/** Unpacks the archive: the other one, where it is settled just now. */
async function unpackTo({ folder, scratch, limits, trusted = true }: LayOutInput) {
  for (let attempt = 1; ; attempt++) {
    const archive = archiveIn(folder);
    if (archive === null) {
      throw new StorageError('corrupt', `Cannot lay out "${folder}": it has no archive`);
    }
    const { path, isLaidDown } = archive;
    try {
      const input = { archive: path, folder: scratch, limits, trusted, isLaidDown };
      return await unpackArchive(input);
    } catch (error) {
      const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT' && !existsSync(path);
      if (!isGone || attempt === 3) throw error;
      rmSync(scratch, { recursive: true, force: true });
    }
  }
}

/** Whether the archive in a folder is of a content, as it says itself. */
function holds(folder: string, digest: string): boolean {
  if (!existsSync(folder)) return false;
  const root = realpathSync(folder);
  return manifestIn(folder, (path) => ({ root, path: basename(path) }))?.digest === digest;
}

/** What the tree of a generation is made of: what says that it is whole comes first. */
export const treePartsOf = (folder: string) =>
  (['tree', 'source', 'manifest', 'artifacts'] as const).map((part) => inGeneration[part](folder));

/** Removes the tree of a generation. */
export function dropTree(folder: string): void {
  for (const part of treePartsOf(folder)) rmSync(part, { recursive: true, force: true });
}
