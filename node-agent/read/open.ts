import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveReader } from '../archive/archive-reader.ts';
import { damaged } from '../archive/own-manifest.ts';
import { TarReader } from '../archive/tar-reader.ts';
import type { Cache } from '../cache/cache.ts';
import type { CacheEntry } from '../cache/entry.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { refOf } from '../catalog/generation-row.ts';
import {
  type CompleteManifest,
  type FileEntry,
  type Folder,
  formatRef,
  type Manifest,
  type Ref,
  StorageError,
} from '../contract.ts';
import { NotAFile, openFileInside } from '../disk/open-inside.ts';
import type { Tell } from '../events/events.ts';
import { compared } from '../store/hash.ts';
import { inGeneration, listTars } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { unlessDamaged } from '../store/unless-damaged.ts';
import { archiveOf } from '../upkeep/archive-of.ts';
import type { Locks } from '../upkeep/locks.ts';
import { CHECKED_BYTES } from './archive.ts';
import { type Finder, matches, parseRefInput, type RefInput } from './find.ts';
import type { Getter, LocalGeneration } from './get.ts';
import { listFiles } from './list-files.ts';

/** A generation whose files can be read, wherever they are. Whoever opened it closes it. */
export type OpenGeneration = Readonly<
  Ref & {
    manifest: Manifest;
    from: LocalGeneration['from'];
    /** Whether it may be out of date: past its time, and the cloud could not be asked. */
    stale: boolean;
    /** Its source files, by path. Those of the Python system are read, for it kept no hashes. */
    files(): Promise<readonly FileEntry[]>;
    /**
     * The content of a file, in pieces.
     *
     * @throws StorageError `corrupt`, at the end, where it is not what was saved
     */
    read(path: string, folder?: Folder): AsyncIterable<Uint8Array>;
    close(): Promise<void>;
  }
>;

/** A file that was compared with what was saved, unless it is large: then at its end. */
export type OpenFile = Readonly<{
  size: number;
  /** `null` where it is of the Python system, which kept no hashes. */
  sha256: string | null;
  pieces(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}>;

/** What files are read from. */
type Reader = Readonly<{
  manifest: CompleteManifest;
  read(path: string, folder?: Folder): AsyncIterable<Uint8Array>;
}>;
type OpenArchive = Readonly<{ reader: Reader; handle: FileHandle }>;

/** What is said where nothing can be written. */
const UNWRITABLE: ReadonlySet<string> = new Set([
  'disk_full',
  'read_only',
  'forbidden',
  'unavailable',
]);

/** How often what is replaced meanwhile is opened anew. */
const ATTEMPTS = 10;

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  locks: Locks;
  finder: Finder;
  getter: Getter;
  cache: Cache;
  isCloudOn: boolean;
  onEvent: Tell;
}>;

/** Opens generations to read files of them: from the archive, where one lies here, without a tree. */
export class Opener {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @param options.isWhole whether all of it is to be read: then a damaged archive is noticed first,
   *   unless it is large
   * @throws StorageError as {@link Getter.get}
   */
  async open(input: RefInput, options: { isWhole?: boolean } = {}): Promise<OpenGeneration> {
    const want = parseRefInput(input);
    const { isWhole = false } = options;
    return (await this.#ofArchive(want, isWhole)) ?? this.#ofOther(want, isWhole);
  }

  /** Opens one file. @throws StorageError as {@link open}; `not_found` where the manifest names none */
  async openFile(input: RefInput, path: string): Promise<OpenFile> {
    const want = parseRefInput(input);
    const archived = await this.#ofArchive(want, false);
    if (archived !== null) {
      // Else it is got from elsewhere.
      const file = await unlessDamaged(() => fileOf(archived, path));
      if (file !== null) return file;
    }
    const other = await this.#ofOther(want, false);
    if (other.from === 'store') return fileOf(other, path);
    const file = await unlessDamaged(() => fileOf(other, path));
    return file ?? fileOf(this.#ofTree(await this.#parts.getter.get(want)), path);
  }

  /** `null` where no archive lies here that can be read as it is. */
  async #ofArchive(want: RefInput, isWhole: boolean): Promise<OpenGeneration | null> {
    const { store, finder, getter, isCloudOn } = this.#parts;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const row = await finder.findAny(want);
      if (row === null || row.state !== 'stored' || row.digest === null) return null;
      const ref = refOf(row);
      const isReplaced = row.cloud_digest !== null && isCloudOn;
      if (!matches(ref, want) || isReplaced) return null;
      if (!store.has(ref) && !(await getter.isBack(ref))) return null;
      const opened = await this.#openArchive(ref, isWhole);
      if (opened === 'damaged') {
        const after = await finder.findAny(want);
        if (after?.digest === row.digest) return null;
      } else if (opened !== 'gone') {
        if (opened.reader.manifest.digest === row.digest) return this.#told(ref, opened);
        await opened.handle.close();
      }
      // Replaced just now.
    }
    return null;
  }

  #told(ref: Ref, opened: OpenArchive): OpenGeneration {
    const { file_count: files, total_size_bytes: bytes } = opened.reader.manifest;
    this.#parts.onEvent({ kind: 'generation.read', ...ref, from: 'store', files, bytes });
    return generationOf({ ...ref, from: 'store', stale: false }, opened);
  }

  /** `gone` where it was replaced or deleted meanwhile. */
  async #openArchive(ref: Ref, isWhole: boolean): Promise<OpenArchive | 'damaged' | 'gone'> {
    try {
      return await this.#tryToOpen(ref, isWhole);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const isMissing = error instanceof NotAFile && error.problem === 'missing';
      if (isMissing || code === 'ENOENT' || code === 'not_found') return 'gone';
      if (error instanceof NotAFile || code === 'corrupt') return 'damaged';
      throw error;
    }
  }

  async #tryToOpen(ref: Ref, isWhole: boolean): Promise<OpenArchive | 'damaged'> {
    const { store } = this.#parts;
    const archive = await this.#archiveOf(ref);
    if (archive === null) return openTar(store, ref);
    const { path, bytes } = archive;
    const isChecked = isWhole && bytes <= CHECKED_BYTES;
    if (isChecked && !(await store.archives.isSound(ref))) return 'damaged';
    const place = store.layout.placeOf(path);
    const handle = await openFileInside(place.root, place.path);
    try {
      const reader = await ArchiveReader.open(handle, store.archives.readBlockIndex(ref));
      return { handle, reader };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** `null` where it is not settled, and nothing can be written to settle it. */
  async #archiveOf(ref: Ref) {
    const { store } = this.#parts;
    const isLaidDown = () => !store.archives.isSettled(ref);
    if (store.layout.isApart && isLaidDown()) return null;
    try {
      return await archiveOf(this.#parts, ref);
    } catch (error) {
      const isUnwritable = error instanceof StorageError && UNWRITABLE.has(error.code);
      if (isUnwritable && isLaidDown()) return null;
      throw error;
    }
  }

  /** A copy from the cloud is read as it came; what cannot be, and what is old, by its tree. */
  async #ofOther(want: RefInput, isWhole: boolean): Promise<OpenGeneration> {
    const { getter, cache } = this.#parts;
    const packed = await getter.getPacked(want);
    if (packed.from === 'store') return this.#ofTree(packed);
    const entry = cache.entries.find(packed.projectId, packed.version, packed.generationId);
    const copy = entry && (await unlessDamaged(() => openCopy(cache, entry, isWhole)));
    return copy === null ? this.#ofTree(await getter.get(want)) : generationOf(packed, copy);
  }

  #ofTree(got: LocalGeneration): OpenGeneration {
    const { getter } = this.#parts;
    const { projectId, version, generationId, manifest, from, stale } = got;
    async function* read(path: string, folder: Folder = 'source') {
      const entries = folder === 'source' ? manifest.entries : manifest.artifacts;
      const handle = await getter.openFile(got, path, folder);
      try {
        const name = `${JSON.stringify(path)} of ${formatRef(got)}`;
        const entry = entries?.find((known) => known.path === path) ?? null;
        yield* compared(handle, entry, name);
      } finally {
        await handle.close();
      }
    }
    return {
      ...{ projectId, version, generationId, manifest, from, stale, read },
      files: () => listFiles(got, (path) => getter.openFile(got, path)),
      close: async () => {},
    };
  }
}

type About = Ref & Pick<OpenGeneration, 'from' | 'stale'>;

function generationOf(about: About, { reader, handle }: OpenArchive): OpenGeneration {
  const { projectId, version, generationId, from, stale } = about;
  const { manifest } = reader;
  return {
    ...{ projectId, version, generationId, manifest, from, stale },
    files: async () => manifest.entries,
    read: (path, folder) => reader.read(path, folder),
    close: () => handle.close(),
  };
}

/** The archive of a copy. @throws StorageError `corrupt`, also where it is one of the Python system */
async function openCopy(cache: Cache, entry: CacheEntry, isWhole: boolean): Promise<OpenArchive> {
  const blockIndex = await cache.readBlockIndex(entry);
  const place = cache.placeOf(inGeneration.archive(entry.path));
  const handle = await openFileInside(place.root, place.path);
  try {
    const reader = await ArchiveReader.open(handle, blockIndex);
    if (reader.manifest.digest !== entry.digest) throw damaged('it holds other content');
    if (isWhole) await reader.check();
    return { handle, reader };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** What a save laid down, where nothing can be written to make the archive of it. */
async function openTar({ layout }: Store, ref: Ref): Promise<OpenArchive> {
  const folder = layout.generation(ref);
  const place = layout.placeOf(join(folder, listTars(folder)[0] ?? ''));
  const handle = await openFileInside(place.root, place.path);
  try {
    return { handle, reader: await TarReader.open(handle) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function fileOf(generation: OpenGeneration, path: string): Promise<OpenFile> {
  try {
    // What is listed alone: beside it anything may lie.
    if (!generation.manifest.files.includes(path)) {
      const message = `Cannot find ${JSON.stringify(path)} in ${formatRef(generation)}`;
      throw new StorageError('not_found', message);
    }
    const entry = generation.manifest.entries?.find((known) => known.path === path);
    let size = entry?.size ?? 0;
    if (entry === undefined || size <= CHECKED_BYTES) {
      size = 0;
      for await (const piece of generation.read(path)) size += piece.length;
    }
    const sha256 = entry?.sha256 ?? null;
    return { size, sha256, pieces: () => generation.read(path), close: () => generation.close() };
  } catch (error) {
    await generation.close();
    throw error;
  }
}
