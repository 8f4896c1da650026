import { closeSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Lanes, MAX_LANES } from '../archive/gzip.ts';
import { formatManifest, type Packed, packArchive, type ReadFile } from '../archive/pack.ts';
import { TarEncoder } from '../archive/tar-encoder.ts';
import {
  type CompleteManifest,
  DEFAULT_MODE,
  digestText,
  type Folder,
  type Limits,
  type Ref,
} from '../contract.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER, privateMode } from '../disk/private.ts';
import { syncFile, syncPath } from './durable.ts';
import { type ArchiveFacts, sha256Hex } from './hash.ts';
import { type Copy, type Inventory, NOTHING, takeInventory } from './inventory.ts';
import { inGeneration } from './layout.ts';
import type { LeftOut } from './left-out.ts';
import type { ListedSource, Source } from './source.ts';

/** What a save is to become. */
export type StageInput = Readonly<{
  /** The folder to make, or that of a staged source. Its parent exists. */
  folder: string;
  ref: Ref;
  createdAt: string;
  metadata: Record<string, unknown>;
  ownerId: string | null;
  source: Source;
  /** Beside it; `null` where there are none. */
  artifacts: ListedSource | null;
  /** Whether it is to take the place of other content. */
  replacement: boolean;
  limits: Limits;
}>;

/** A file that is not there yet. */
export const NEW_FILE = { flag: 'wx', mode: PRIVATE_FILE } as const;

/** Whether packing may use more threads than the one it runs in. */
export type Parallel = Readonly<{ parallel: boolean }>;

/** As many threads as help a thread that does nothing but pack. */
export const lanesFor =
  ({ parallel }: Parallel): Lanes =>
  () =>
    parallel ? MAX_LANES : 0;

/** What is staged: whole and durable, not yet in place. */
export type Staged = Readonly<{
  digest: string;
  sourceBytes: number;
  fileCount: number;
  leftOut: LeftOut;
}>;

/**
 * Writes a generation to a staging folder: all of it into one tar, each file as it is read, the
 * manifest last. The tar and the folder's entries are synced: they are the commit, and the tree can
 * be made from them again.
 */
export async function stageGeneration(input: StageInput): Promise<Staged> {
  const { folder, source, limits } = input;
  const inPlace = source.kind === 'staged';
  if (!inPlace) mkdirSync(folder, PRIVATE_FOLDER);
  if (input.replacement) writeFileSync(inGeneration.replacement(folder), '', NEW_FILE);
  const temporary = join(folder, 'archive.tar');
  const fd = openSync(temporary, 'wx', PRIVATE_FILE);
  const tar = new TarEncoder((bytes, position) => writeAll(fd, bytes, position));
  try {
    const files = takeInventory(source, limits, { copy: into(tar, 'source') });
    const made =
      input.artifacts === null
        ? NOTHING
        : takeInventory(input.artifacts, limits, { copy: into(tar, 'artifacts') });
    const manifest = makeManifest(input, files, made);
    const text = formatManifest(manifest);
    tar.begin({ folder: null, path: 'manifest.json' });
    tar.write(Buffer.from(text));
    tar.end(DEFAULT_MODE);
    tar.finish();
    renameSync(temporary, inGeneration.tar(folder, manifest.digest));
    // The disk is waited for in another thread, while the tree is written in this.
    const writing = [
      syncAll(fd, folder),
      inPlace ? null : writeTrees(folder, files, made),
    ] as const;
    // Each to its end: nothing may be written any more when this has thrown.
    await Promise.allSettled(writing);
    await Promise.all(writing);
    writeFileSync(inGeneration.manifest(folder), text, NEW_FILE);
    return {
      digest: manifest.digest,
      sourceBytes: manifest.total_size_bytes,
      fileCount: manifest.file_count,
      leftOut: files.leftOut,
    };
  } finally {
    tar.close();
    closeSync(fd);
  }
}

/** Has a tar take the files of an inventory. */
function into(tar: TarEncoder, folder: Folder): Copy {
  return {
    begin: (path) => tar.begin({ folder, path }),
    write: (bytes) => tar.write(bytes),
    end: (mode) => tar.end(mode),
  };
}

async function syncAll(fd: number, folder: string): Promise<void> {
  await syncFile(fd);
  await syncPath(folder);
}

async function writeTrees(folder: string, files: Inventory, made: Inventory): Promise<void> {
  await writeTree(inGeneration.source(folder), files);
  if (made !== NOTHING) await writeTree(inGeneration.artifacts(folder), made);
}

function makeManifest(
  { ref, createdAt, metadata, ownerId }: StageInput,
  files: Inventory,
  made: Inventory,
): CompleteManifest {
  return {
    generation_id: ref.generationId,
    project_id: ref.projectId,
    version: ref.version,
    created_at: createdAt,
    file_count: files.entries.length,
    total_size_bytes: files.totalBytes,
    files: files.entries.map((entry) => entry.path),
    metadata,
    ...(ownerId === null ? {} : { owner_id: ownerId }),
    schema: 1,
    digest: sha256Hex(digestText(files.entries, made.entries)),
    entries: files.entries,
    artifacts: made.entries,
  };
}

/**
 * Writes the archive into the folder of a generation, and beside it what it is and where its
 * blocks are. Nothing is synced.
 */
export async function writeArchive(
  folder: string,
  manifest: CompleteManifest,
  read: ReadFile,
  lanes: Lanes,
): Promise<ArchiveFacts> {
  const fd = openSync(inGeneration.archive(folder), 'wx', PRIVATE_FILE);
  let packed: Packed;
  try {
    packed = await packArchive(manifest, read, (bytes) => writeAll(fd, bytes), lanes);
  } finally {
    closeSync(fd);
  }
  const { bytes, sha256, md5, blockIndex } = packed;
  const { digest } = manifest;
  writeJson(inGeneration.archiveFacts(folder), { bytes, sha256, md5, digest });
  if (blockIndex !== null) writeJson(inGeneration.blockIndex(folder), blockIndex);
  return { bytes, sha256, md5 };
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value), NEW_FILE);
}

/** What a source would be saved as. */
export type Digested = Readonly<{ digest: string; leftOut: LeftOut }>;

/** The digest that a source would have, with nothing written. */
export function digestSource(source: Source, limits: Limits): Digested {
  const { entries, leftOut } = takeInventory(source, limits);
  return { digest: sha256Hex(digestText(entries)), leftOut };
}

/** Pieces of files that are written in one go: other threads deflate, and want their next block. */
const PIECES_AT_ONCE = 16;

async function writeTree(root: string, { entries, read }: Inventory): Promise<void> {
  mkdirSync(root, PRIVATE_FOLDER);
  const made = new Set<string>();
  let pieces = 0;
  for (const entry of entries) {
    const path = join(root, entry.path);
    const parent = dirname(path);
    if (parent !== root && !made.has(parent)) {
      mkdirSync(parent, { recursive: true, mode: PRIVATE_FOLDER });
      made.add(parent);
    }
    const fd = openSync(path, 'wx', privateMode(entry.mode));
    try {
      for (const piece of read(entry.path)) {
        writeAll(fd, piece);
        pieces++;
        if (pieces % PIECES_AT_ONCE === 0) await setImmediate();
      }
    } finally {
      closeSync(fd);
    }
  }
}

/** @param position left out: where the last write ended */
function writeAll(fd: number, bytes: Uint8Array, position: number | null = null): void {
  for (let offset = 0; offset < bytes.length; ) {
    const at = position === null ? null : position + offset;
    offset += writeSync(fd, bytes, offset, bytes.length - offset, at);
  }
}
