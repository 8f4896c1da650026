import { existsSync, mkdirSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkItself, damaged } from '../archive/own-manifest.ts';
import {
  type CompleteManifest,
  formatRef,
  isComplete,
  isId,
  type Limits,
  type Manifest,
  parseFolderName,
  type Ref,
  StorageError,
} from '../contract.ts';
import { listFolder } from '../disk/list-folder.ts';
import { makeFolders } from '../disk/make-folders.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { readManifest } from '../disk/read-manifest.ts';
import { findLaidOut, manifestIn, readTreeFile } from '../store/lay-out.ts';
import { inGeneration, Layout } from '../store/layout.ts';
import { Staging } from '../store/staging.ts';
import { Trees } from '../store/trees.ts';
import { unlessDamaged } from '../store/unless-damaged.ts';
import type { StageWork } from '../store/work.ts';
import { type CacheEntry, ENTRY_FILE, type EntryFile, readEntry } from './entry.ts';

export type CacheOptions = Readonly<{
  /** Absolute. */
  path: string;
  /** How long an entry is good without asking the cloud, in milliseconds. */
  ttlMs: number;
  /** Entries that nobody used for so long are evicted, in milliseconds. */
  maxAgeMs: number;
  /** Bytes of archives and trees in all; beyond, the least recently used go. */
  maxBytes: number;
}>;

/** What an archive that came from the cloud is. */
type Arrived = Readonly<{
  etag: string;
  sha256: string;
  /** Of what it has to hold; `null`: whatever it holds. */
  digest: string | null;
  /** Whether its hash is one that was recorded. */
  trusted: boolean;
  layOut: boolean;
}>;

/**
 * Copies of generations from the cloud: the same folders as in the store, an archive and where a path was
 * asked for its tree. Whole or not there.
 */
export class Cache {
  readonly #options: CacheOptions;
  readonly #layout: Layout;
  readonly #staging: Staging;
  readonly #trees: Trees;
  readonly #limits: Limits;
  readonly #work: StageWork;
  readonly #now: () => number;

  /** @param instanceId names the staging folder that is this process's own */
  constructor(
    options: CacheOptions,
    parts: { limits: Limits; work: StageWork; now: () => number; instanceId: string },
  ) {
    const { limits, work, now, instanceId } = parts;
    this.#options = options;
    this.#layout = new Layout(options.path);
    this.#staging = new Staging(this.#layout, instanceId);
    const staging = { path: () => this.stagePath() };
    this.#trees = new Trees({ layout: this.#layout, limits, staging, work });
    this.#limits = limits;
    this.#work = work;
    this.#now = now;
  }

  get root(): string {
    return this.#layout.root;
  }

  /** Where a path of the cache is, seen from the real path of its folder. */
  placeOf(path: string): { root: string; path: string } {
    return this.#layout.placeOf(path);
  }

  /** Finds a version; `null` where it is not cached. Its generation id must match where given. */
  find(projectId: string, version: number, generationId?: string): CacheEntry | null {
    const folder = this.#layout.generations(projectId);
    for (const name of listFolder(folder)) {
      const parsed = parseFolderName(name);
      if (parsed?.version !== version) continue;
      if (generationId !== undefined && parsed.generationId !== generationId) continue;
      return readEntry({ projectId, ...parsed }, join(folder, name));
    }
    return null;
  }

  /** Whether an entry may be served without asking the cloud. */
  isFresh(entry: CacheEntry): boolean {
    const age = this.#now() - entry.checkedAt;
    // Of the future where the clock was put back: then nobody knows.
    return age >= 0 && age < this.#options.ttlMs;
  }

  /** Notes that an entry was asked for: the least recently used go first. */
  markUsed(entry: CacheEntry): void {
    const now = this.#now() / 1000;
    utimesSync(join(entry.path, ENTRY_FILE), now, now);
  }

  /** Notes that the cloud still has what the entry holds. */
  markFresh({ path, etag, sha256, bytes, digest }: CacheEntry): void {
    this.#writeEntryFile(path, { etag, sha256, bytes, digest, checked_at: this.#now() });
  }

  /** A new path of this process, on the file system of the cache. */
  stagePath(): string {
    // Made where it is needed: a host may never fetch anything, and somebody may remove the cache.
    makeFolders(this.#layout.staging);
    return this.#staging.path();
  }

  /**
   * Makes an entry of an archive whose bytes were checked: the rename is the commit. What is not one of
   * ours, with a hash that was recorded, is unpacked first: nothing of it is trusted.
   *
   * @param archive a file in staging, which is taken
   * @param arrived.layOut whether its tree is to be there too
   * @throws StorageError `corrupt`, `invalid_input`, `too_large`; nothing of it is left then
   */
  async install(ref: Ref, archive: string, arrived: Arrived): Promise<CacheEntry> {
    const folder = this.stagePath();
    const { etag, sha256, digest: expected } = arrived;
    try {
      mkdirSync(folder, PRIVATE_FOLDER);
      renameSync(archive, inGeneration.archive(folder));
      const bytes = statSync(inGeneration.archive(folder)).size;
      const digest = await this.#digestOf(folder, arrived);
      if (expected !== null && digest !== expected) {
        throw new StorageError('corrupt', `Cannot get ${formatRef(ref)}: it holds other content`);
      }
      this.#writeEntryFile(folder, { etag, sha256, bytes, digest, checked_at: this.#now() });
      return await this.#putInPlace(ref, folder, sha256);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Of what an archive holds, by its files. */
  async #digestOf(folder: string, { trusted, layOut }: Arrived): Promise<string> {
    const isRead = trusted && !layOut;
    const own = isRead ? await unlessDamaged(async () => this.#readOwn(folder)) : null;
    if (own !== null) return own.digest;
    const scratch = this.stagePath();
    await this.#work.layOut({ folder, scratch, limits: this.#limits, trusted });
    const tree = this.#readTree(folder);
    if (tree === null) throw damaged('its digest is not that of its files');
    return tree.digest;
  }

  #readOwn(folder: string): CompleteManifest | null {
    const manifest = manifestIn(folder, (path) => this.placeOf(path));
    if (manifest === null || !isComplete(manifest)) return null;
    checkItself(manifest, this.#limits);
    return manifest;
  }

  async #putInPlace(ref: Ref, folder: string, sha256: string): Promise<CacheEntry> {
    const place = this.#layout.generation(ref);
    makeFolders(dirname(place));
    const old = this.find(ref.projectId, ref.version);
    if (old?.ref.generationId === ref.generationId && old.sha256 === sha256) {
      // Somebody else was quicker, and may be reading it: the same stays.
      this.markFresh(old);
      return readEntry(ref, old.path) ?? old;
    }
    if (old !== null) await this.evict(old);
    // What is there and is no entry was damaged.
    if (existsSync(place) && readEntry(ref, place) === null) await this.#discard(place);
    try {
      renameSync(folder, place);
    } catch (error) {
      // Another process was quicker with the same generation.
      if (!existsSync(join(place, ENTRY_FILE))) throw error;
    }
    return readEntry(ref, place)!;
  }

  /** The manifest of an entry. @throws StorageError `corrupt` */
  readManifest(entry: CacheEntry): Manifest {
    const own = this.isLaidOut(entry)
      ? readManifest(this.placeOf(inGeneration.manifest(entry.path)))
      : manifestIn(entry.path, (path) => this.placeOf(path));
    if (own !== null) return own;
    throw new StorageError('corrupt', `Cannot read "${entry.path}": it has no archive`);
  }

  /**
   * Has the tree of an entry be there.
   *
   * @throws StorageError `corrupt` where its archive is not what it was
   */
  async layOut(entry: CacheEntry): Promise<void> {
    if (this.isLaidOut(entry)) return;
    try {
      await this.#trees.layOut(entry.ref);
      // Or it was evicted meanwhile.
      if (!this.isLaidOut(entry)) throw damaged('it holds other content');
    } catch (error) {
      // Another process was quicker.
      if (!this.isLaidOut(entry)) throw error;
    }
  }

  /** Whether the tree of an entry is there, whole. */
  isLaidOut(entry: CacheEntry): boolean {
    const { root, path } = this.placeOf(entry.path);
    return findLaidOut(root, path, entry.digest) !== null;
  }

  #readTree(folder: string) {
    const { root, path } = this.placeOf(folder);
    return readTreeFile(root, path);
  }

  /** Takes an entry away: at once for readers to come. */
  async evict(entry: CacheEntry): Promise<void> {
    await this.#discard(entry.path);
  }

  async #discard(path: string): Promise<void> {
    const trash = this.stagePath();
    try {
      renameSync(path, trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(trash, { recursive: true, force: true });
  }

  /** All entries, with the bytes of their archives and trees. */
  *entries(): Iterable<CacheEntry> {
    for (const projectId of listFolder(this.#options.path).filter(isId)) {
      const folder = this.#layout.generations(projectId);
      for (const name of listFolder(folder)) {
        const parsed = parseFolderName(name);
        const path = join(folder, name);
        const entry = parsed && readEntry({ projectId, ...parsed }, path);
        if (entry === null) continue;
        yield { ...entry, bytes: entry.bytes + (this.#readTree(path)?.bytes ?? 0) };
      }
    }
  }

  /** Removes what instances that are gone left in staging. */
  async sweepStaging(isGone: (instanceId: string) => boolean): Promise<void> {
    await this.#staging.sweep(isGone);
  }

  async close(): Promise<void> {
    await this.#staging.close();
  }

  #writeEntryFile(folder: string, entry: EntryFile): void {
    const temporary = this.stagePath();
    writeFileSync(temporary, JSON.stringify(entry), { flag: 'wx', mode: PRIVATE_FILE });
    const now = this.#now() / 1000;
    utimesSync(temporary, now, now);
    renameSync(temporary, join(folder, ENTRY_FILE));
  }
}
