import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cache } from '../cache/cache.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import {
  type Folder,
  formatRef,
  isInCloud,
  isReserved,
  type Manifest,
  notFound,
  pathProblem,
  type Ref,
  StorageError,
} from '../contract.ts';
import { NotAFile, openFileInside } from '../disk/open-inside.ts';
import type { Tell } from '../events/events.ts';
import { inGeneration } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import type { StoredGeneration } from '../store/stored-generation.ts';
import { unlessDamaged } from '../store/unless-damaged.ts';
import type { Locks } from '../upkeep/locks.ts';
import { treeOf } from '../upkeep/tree-of.ts';
import type { Want } from './fetch-copy.ts';
import { type Finder, matches, parseRefInput, type RefInput } from './find.ts';
import type { Retrieved, Retriever } from './retrieve.ts';

type Retrieve = (want: Want) => Promise<Retrieved>;

/** A generation that can be read. */
export type LocalGeneration = Readonly<
  Ref & {
    /** The folder with `manifest.json` and `source/`. */
    path: string;
    sourcePath: string;
    manifest: Manifest;
    from: 'store' | 'cache' | 'cloud' | 'replica';
    /** Whether it may be out of date: past its time, and the cloud could not be asked. */
    stale: boolean;
  }
>;

type Parts = Readonly<{
  store: Store;
  locks: Locks;
  unwritable: StorageError | null;
  now: () => number;
  cache: Cache;
  finder: Finder;
  retriever: Retriever;
  isCloudOn: boolean;
  onEvent: Tell;
}>;

/** How often what is replaced meanwhile is looked at anew. */
const ATTEMPTS = 100;

/** Gets generations to read: from the store, else from the cache, else from the cloud. */
export class Getter {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws StorageError `not_found`, `unavailable`, `corrupt` */
  async get(input: RefInput): Promise<LocalGeneration> {
    return this.#get(input, (want) => this.#parts.retriever.getLaidOut(want));
  }

  /** As {@link get}, but that of a copy from the cloud the tree may not be there. */
  async getPacked(input: RefInput): Promise<LocalGeneration> {
    const get = () => this.#get(input, (want) => this.#parts.retriever.get(want));
    return (await unlessDamaged(get)) ?? this.get(input);
  }

  async #get(input: RefInput, retrieve: Retrieve): Promise<LocalGeneration> {
    const { store, finder, isCloudOn } = this.#parts;
    const want = parseRefInput(input);
    const row = await finder.findAny(want);
    if (row !== null) {
      const ref = refOf(row);
      if (!matches(ref, want)) return this.#getOther(want);
      if (row.state !== 'stored') throw notFound(want);
      const isOther = row.cloud_digest !== null && isCloudOn && store.has(ref);
      const got = isOther ? await this.#getReplacement(want, row, retrieve) : null;
      if (got !== null) return got;
      const found = await this.#find(ref, row);
      if (found !== null) return this.#told({ ...ref, ...found, from: 'store', stale: isOther });
    }
    return this.#retrieve(want, row, retrieve);
  }

  /** What lies here, laid out; `null` where nothing does, or is damaged and in the cloud. */
  async #find(ref: Ref, row: GenerationRow): Promise<StoredGeneration | null> {
    const { store } = this.#parts;
    try {
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        const found = this.#findLaidOut(ref, row) ?? (await store.find(ref));
        if (found === null && (await this.isBack(ref))) continue;
        if (found === null || found.manifest.digest === undefined) return found;
        if (await treeOf(this.#parts, ref, found.manifest.digest)) return found;
        // Replaced just now.
        const current = await this.#parts.finder.findAny(ref);
        if (current?.state !== 'stored') throw notFound(ref);
      }
      const problem = 'its archive is not what is written down of it';
      throw new StorageError('corrupt', `Cannot get ${formatRef(ref)}: ${problem}`);
    } catch (error) {
      const isDamaged = error instanceof StorageError && error.code === 'corrupt';
      if (!isDamaged || !this.#parts.isCloudOn || !isInCloud(row.status)) throw error;
      return null;
    }
  }

  /** Most are asked for again and again: of those no archive is read. */
  #findLaidOut(ref: Ref, { digest }: GenerationRow): StoredGeneration | null {
    const { store } = this.#parts;
    const manifest = digest === null ? null : store.trees.findManifest(ref, digest);
    const path = store.layout.generation(ref);
    return manifest && { path, sourcePath: inGeneration.source(path), manifest };
  }

  /** Waits where a generation is just replaced: for a moment neither content is in place. */
  async isBack(ref: Ref): Promise<boolean> {
    const { store, finder, locks } = this.#parts;
    const row = await finder.findAny(ref);
    if (row?.state !== 'stored' || row.instance_id === null) return store.has(ref);
    await (await locks.lock(ref))?.();
    return store.has(ref);
  }

  /** What took the place of what lies here; `null` where the cloud is away. */
  async #getReplacement(
    want: RefInput,
    row: GenerationRow,
    retrieve: Retrieve,
  ): Promise<LocalGeneration | null> {
    try {
      return await this.#retrieve(want, row, retrieve);
    } catch (error) {
      if (error instanceof StorageError && error.retryable) return null;
      throw error;
    }
  }

  async #retrieve(
    want: RefInput,
    row: GenerationRow | null,
    retrieve: Retrieve,
  ): Promise<LocalGeneration> {
    const { entry, from, stale } = await retrieve({ ...want, row });
    const { ref, path } = entry;
    return this.#told({
      ...ref,
      path,
      sourcePath: inGeneration.source(path),
      manifest: this.#parts.cache.readManifest(entry),
      from,
      stale,
    });
  }

  #told(got: LocalGeneration): LocalGeneration {
    const { projectId, version, generationId, from } = got;
    const manifest = withoutReserved(got.manifest);
    const { file_count: files, total_size_bytes: bytes } = manifest;
    this.#parts.onEvent({
      kind: 'generation.read',
      projectId,
      version,
      generationId,
      from,
      files,
      bytes,
    });
    return { ...got, manifest };
  }

  /** The Python system let two generations have one version: the catalog knows one, the disk both. */
  async #getOther({ projectId, version, generationId }: RefInput): Promise<LocalGeneration> {
    const { store } = this.#parts;
    const ref = { projectId, version, generationId: generationId! };
    const found = store.tombstones.deletedAt(ref) === null ? await store.find(ref) : null;
    // The catalog knows none of ours but under its version.
    if (found === null || found.manifest.digest !== undefined) throw notFound(ref);
    const manifest = withoutReserved(found.manifest);
    return { ...ref, ...found, manifest, from: 'store', stale: false };
  }

  /** Opens a file, to read it. The caller closes it. @throws StorageError `corrupt` */
  async openFile(
    generation: LocalGeneration,
    path: string,
    folder: Folder = 'source',
  ): Promise<FileHandle> {
    const { store, cache } = this.#parts;
    const name = `${JSON.stringify(path)} of ${formatRef(generation)}`;
    // An old manifest may name anything.
    const problem = pathProblem(path);
    if (problem !== null) throw new StorageError('corrupt', `Cannot read ${name}: ${problem}`);
    const { path: own, sourcePath } = generation;
    const file = join(folder === 'source' ? sourcePath : inGeneration.artifacts(own), path);
    const place = generation.from === 'store' ? store.layout.placeOf(file) : cache.placeOf(file);
    try {
      return await openFileInside(place.root, place.path);
    } catch (error) {
      if (!(error instanceof NotAFile)) throw error;
      throw new StorageError('corrupt', `Cannot read ${name}: it is ${error.problem}`, {
        cause: error,
      });
    }
  }
}

/** The Python system took files that would lie where an archive has its manifest: they are not served. */
function withoutReserved(manifest: Manifest): Manifest {
  // One of ours names none: it was refused, or left out.
  if (manifest.entries !== undefined) return manifest;
  const files = manifest.files.filter((path) => !isReserved(path));
  if (files.length === manifest.files.length) return manifest;
  return { ...manifest, files, file_count: files.length };
}
