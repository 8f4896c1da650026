import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
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
  StorageError,
} from '../contract.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { writeAll } from '../disk/write-all.ts';
import { formatArchiveFacts } from './archive-facts.ts';
import { syncPathHere } from './durable.ts';
import { type ArchiveFacts, sha256Hex } from './hash.ts';
import {
  type Copy,
  type Inventory,
  inventoryOfDraft,
  NOTHING,
  takeInventory,
} from './inventory.ts';
import { inGeneration } from './layout.ts';
import type { LeftOut } from './left-out.ts';
import type { ListedSource, Source } from './source.ts';

/** What a save is to become. */
export type StageInput = Readonly<{
  /** The folder to make, or that of a draft. Its parent exists. */
  folder: string;
  ref: Ref;
  createdAt: string;
  metadata: Record<string, unknown>;
  ownerId: string | null;
  source: Source;
  /** Beside it; `null` where there are none. */
  artifacts: ListedSource | null;
  /** Whether it is to take the place of other content. */
  isReplacement?: boolean;
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
 * manifest last. The tar and the folder's entries are synced: they are the commit.
 */
export async function stageGeneration(input: StageInput): Promise<Staged> {
  const { folder, source, limits } = input;
  if (source.kind !== 'draft') mkdirSync(folder, PRIVATE_FOLDER);
  const temporary = inGeneration.stagedTar(folder);
  const fd = source.kind === 'draft' ? source.fd : openSync(temporary, 'wx', PRIVATE_FILE);
  const end = source.kind === 'draft' ? source.end : 0;
  const tar = new TarEncoder((bytes, position) => writeAll(fd, bytes, position), end);
  try {
    const files =
      source.kind === 'draft'
        ? inventoryOfDraft(source)
        : takeInventory(source, limits, { copy: into(tar, 'source') });
    const made =
      input.artifacts === null
        ? NOTHING
        : takeInventory(input.artifacts, limits, { copy: into(tar, 'artifacts') });
    const manifest = makeManifest(input, files, made);
    const text = Buffer.from(formatManifest(manifest));
    const expected = { size: text.length, mode: DEFAULT_MODE };
    tar.begin({ folder: null, path: 'manifest.json' }, expected);
    tar.write(text);
    tar.end(DEFAULT_MODE);
    tar.finish();
    checkSame(fd, temporary);
    renameSync(temporary, inGeneration.tar(folder, manifest.digest));
    fsyncSync(fd);
    syncPathHere(folder);
    return {
      digest: manifest.digest,
      sourceBytes: manifest.total_size_bytes,
      fileCount: manifest.file_count,
      leftOut: files.leftOut,
    };
  } finally {
    tar.close();
    // That of a draft is whose it was.
    if (source.kind !== 'draft') closeSync(fd);
  }
}

/** What was written has to be what is put in place. @throws StorageError `unavailable` */
function checkSame(fd: number, path: string): void {
  const [written, found] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })];
  if (found?.ino === written.ino && found.dev === written.dev) return;
  throw new StorageError(
    'unavailable',
    `Cannot save: "${path}" was taken away while it was written. Nothing is saved; save again`,
  );
}

/** Has a tar take the files of an inventory. */
function into(tar: TarEncoder, folder: Folder): Copy {
  return {
    begin: (path, expected) => tar.begin({ folder, path }, expected),
    write: (bytes) => tar.write(bytes),
    end: (mode) => tar.end(mode),
  };
}

function makeManifest(
  { ref, createdAt, metadata, ownerId, isReplacement }: StageInput,
  files: Omit<Inventory, 'read'>,
  made: Omit<Inventory, 'read'>,
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
    ...(isReplacement === true ? { replacement: true } : {}),
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
  const text = formatArchiveFacts({ bytes, sha256, md5, digest, blockIndex });
  writeFileSync(inGeneration.archiveFacts(folder), text, NEW_FILE);
  return { bytes, sha256, md5 };
}

export type DigestInput = Pick<StageInput, 'source' | 'artifacts' | 'limits'>;

/** What a source would be saved as. */
export type Digested = Readonly<{ digest: string; leftOut: LeftOut }>;

/** The digest of what would be saved, with nothing written. */
export function digestSource({ source, artifacts, limits }: DigestInput): Digested {
  const { entries, leftOut } =
    source.kind === 'draft' ? inventoryOfDraft(source) : takeInventory(source, limits);
  const made = artifacts === null ? NOTHING : takeInventory(artifacts, limits);
  return { digest: sha256Hex(digestText(entries, made.entries)), leftOut };
}
