import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { entriesOf } from '../archive/own-manifest.ts';
import type { ReadFile } from '../archive/pack.ts';
import { StoredTar } from '../archive/stored-tar.ts';
import {
  DEFAULT_LIMITS,
  isComplete,
  type Manifest,
  type ManifestEntry,
  parseManifest,
  StorageError,
} from '../contract.ts';
import { NotAFile, openInside } from '../disk/open-inside.ts';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import { ChangedWhileRead, type Place, readPieces } from '../disk/read-file.ts';
import { findText, readManifest } from '../disk/read-manifest.ts';
import { walk } from '../disk/walk.ts';
import { readArchiveFacts } from './archive-facts.ts';
import { syncPathHere } from './durable.ts';
import { type ArchiveFacts, sha256Hex } from './hash.ts';
import { readChecked } from './inventory.ts';
import { readTreeFile } from './lay-out.ts';
import { inGeneration, listTars } from './layout.ts';
import { lanesFor, type Parallel, writeArchive } from './stage.ts';

/** What the file system takes. */
const MAX_PATH = 4096;

/** Fsyncs everything in the folder of a generation. Until then only its archive survives a power loss. */
export function syncTree(folder: string): void {
  // Of ours, and bounded by what it was made of.
  const limits = { ...DEFAULT_LIMITS, entries: Number.POSITIVE_INFINITY, pathBytes: MAX_PATH };
  for (const { path, kind } of walk(folder, { limits })) {
    if (kind === 'file' || kind === 'folder') syncPathHere(join(folder, path));
  }
  syncPathHere(folder);
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
  const root = realpathSync(folder);
  if (!existsSync(inGeneration.tree(root))) {
    const problem = 'its archive is damaged or gone, and no tree is laid out to make it of';
    throw new StorageError('corrupt', `Cannot read "${folder}": ${problem}`);
  }
  const manifest = readManifest({ root, path: inGeneration.manifest('') });
  if (!isComplete(manifest)) {
    throw new StorageError('corrupt', `Cannot pack "${folder}": its manifest has no hashes`);
  }
  const entries = entriesOf(manifest);
  mkdirSync(scratch, PRIVATE_FOLDER);
  try {
    const read: ReadFile = (kind, name) =>
      readChecked({ root, path: join(kind, name) }, entries[kind].get(name)!);
    const facts = await writeArchive(scratch, manifest, read, lanesFor(input));
    syncTree(scratch);
    for (const part of ['archiveFacts', 'archive'] as const) {
      renameSync(inGeneration[part](scratch), inGeneration[part](folder));
      syncPathHere(folder);
    }
    // Of what a save laid down nothing is needed any more, least of all where it was damaged.
    for (const name of listTars(folder)) rmSync(join(folder, name));
    return facts;
  } catch (error) {
    if (!(error instanceof NotAFile) && !(error instanceof ChangedWhileRead)) throw error;
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
 * Reads every byte of a generation, archive and tree, and compares them with the hashes that were
 * recorded.
 *
 * @param input.digest what it has to hold
 * @returns what is the matter, a sentence each
 */
export function checkTree({ folder, digest }: { folder: string; digest: string }): string[] {
  const root = realpathSync(folder);
  const problems: string[] = [];
  const look = (what: () => string | null) => {
    const problem = named(what);
    if (problem !== null) problems.push(problem);
  };
  look(() => checkArchive(root, digest));
  // Without this it is none: it is laid out anew where it is asked for.
  if (!existsSync(inGeneration.tree(root))) return problems;
  let manifest: Manifest | null = null;
  look(() => {
    const path = inGeneration.manifest('');
    const text = findText({ root, path });
    const isWhole = text !== null && sha256Hex(text) === readTreeFile(root, '')?.manifest;
    if (!isWhole) return `"${path}" is not what it was`;
    manifest = parseManifest(text, path);
    return null;
  });
  for (const [kind, entries] of [
    ['source', (manifest as Manifest | null)?.entries ?? []],
    ['artifacts', (manifest as Manifest | null)?.artifacts ?? []],
  ] as const) {
    for (const entry of entries) {
      const path = join(kind, entry.path);
      look(() => findDamage({ root, path }, entry));
      if (problems.length >= MAX_NAMED) return problems;
    }
  }
  return problems;
}

/** What is the matter with the archive, and with what is written down of it. */
function checkArchive(root: string, digest: string): string | null {
  const [tar] = listTars(root);
  if (tar !== undefined) return checkTar({ root, path: tar }, digest);
  if (!existsSync(join(root, inGeneration.archive('')))) return 'the archive is missing';
  const facts = readArchiveFacts({ root, path: inGeneration.archiveFacts('') });
  if (facts === null) return `"${inGeneration.archiveFacts('')}" is not what it was`;
  if (facts.digest !== digest) return 'the archive holds other content';
  const hash = createHash('sha256');
  for (const piece of readPieces({ root, path: inGeneration.archive('') })) hash.update(piece);
  return hash.digest('hex') === facts.sha256 ? null : 'the archive is another';
}

/** What is the matter with what a save laid down. */
function checkTar({ root, path }: Place, digest: string): string | null {
  const fd = openInside(root, path);
  try {
    const tar = new StoredTar(fd);
    tar.check();
    return tar.manifest.digest === digest ? null : 'the archive holds other content';
  } finally {
    closeSync(fd);
  }
}

/** What is thrown is of this generation alone, and named. */
function named(look: () => string | null): string | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof StorageError) return error.message;
    if (error instanceof NotAFile || error instanceof ChangedWhileRead) return error.message;
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return `"${path ?? 'a file'}" cannot be read: ${code}`;
  }
}

function findDamage(place: Place, entry: ManifestEntry): string | null {
  try {
    return isContent(place, entry) ? null : `"${place.path}" is not what it was`;
  } catch (error) {
    if (!(error instanceof NotAFile)) throw error;
    const { problem } = error;
    return problem === 'missing'
      ? `"${place.path}" cannot be read: ENOENT`
      : `"${place.path}" is ${problem}`;
  }
}

/** Whether a file is what its entry in the manifest says, every byte of it. */
function isContent(place: Place, entry: ManifestEntry): boolean {
  const hash = createHash('sha256');
  for (const piece of readPieces(place)) hash.update(piece);
  return hash.digest('hex') === entry.sha256;
}
