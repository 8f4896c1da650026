import { linkSync, renameSync, statSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { checkItself, damaged } from '../archive/own-manifest.ts';
import type { BlockIndex } from '../archive/pack.ts';
import {
  type CompleteManifest,
  formatRef,
  isComplete,
  type Limits,
  type Manifest,
  type Ref,
  StorageError,
} from '../contract.ts';
import { isUnwritable } from '../disk/file-errors.ts';
import { Archives } from '../store/archives.ts';
import { hashFile } from '../store/hash.ts';
import { manifestIn, readTreeFile } from '../store/lay-out.ts';
import { inGeneration } from '../store/layout.ts';
import { Trees } from '../store/trees.ts';
import { unlessDamaged } from '../store/unless-damaged.ts';
import type { StageWork } from '../store/work.ts';
import { SharedRuns } from '../threads/shared-runs.ts';
import { Entries } from './entries.ts';
import { type CacheEntry, toFile } from './entry.ts';

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

/** What is to become of an archive. */
type Handling = Readonly<{
  /** Whether its hash is one that was recorded. */
  trusted: boolean;
  /** Whether its tree is to be there too. */
  layOut: boolean;
}>;

/** What an archive that came from the cloud is. */
type Arrived = Handling &
  Readonly<{
    etag: string;
    sha256: string;
    /** Of what it has to hold; `null`: whatever it holds. */
    digest: string | null;
    /** Whether the database said just now that it is so; else it is asked as soon as it can be. */
    isAsked: boolean;
  }>;

/**
 * Copies of generations from the cloud: the same folders as in the store, an archive and where a path was
 * asked for its tree. Whole or not there.
 */
export class Cache {
  readonly entries: Entries;
  readonly #options: CacheOptions;
  readonly #trees: Trees;
  readonly #archives: Archives;
  readonly #limits: Limits;
  readonly #work: StageWork;
  readonly #now: () => number;
  readonly #running = new SharedRuns<unknown>();

  /** @param parts.instanceId names the staging folder that is this process's own */
  constructor(
    options: CacheOptions,
    parts: { limits: Limits; work: StageWork; now: () => number; instanceId: string },
  ) {
    const { limits, work, now, instanceId } = parts;
    this.entries = new Entries(options.path, instanceId, now);
    const path = () => this.entries.stagePath();
    const staging = { path, pathToPlace: path };
    const views = { layout: this.entries.layout, limits, staging, work };
    this.#options = options;
    this.#trees = new Trees(views);
    this.#archives = new Archives(views);
    this.#limits = limits;
    this.#work = work;
    this.#now = now;
  }

  /** Where a path of the cache is, seen from the real path of its folder. */
  placeOf(path: string): { root: string; path: string } {
    return this.entries.layout.placeOf(path);
  }

  /** Whether an entry may be served without asking the cloud. */
  isFresh(entry: CacheEntry): boolean {
    const age = this.#now() - entry.checked_at;
    // Of the future where the clock was put back: then nobody knows.
    return age >= 0 && age < this.#options.ttlMs;
  }

  /** Notes that the cloud still has what the entry holds. @returns whether it is still there */
  markFresh(entry: CacheEntry): boolean {
    return this.entries.note(entry, { ...toFile(entry), checked_at: this.#now() });
  }

  /**
   * Makes an entry of an archive whose bytes were checked: the rename is the commit. What is not one of
   * ours, with a hash that was recorded, is unpacked first: nothing of it is trusted.
   *
   * @param archive a file in staging, which is taken
   * @throws StorageError `corrupt`, `invalid_input`, `too_large`; nothing of it is left then
   */
  install(ref: Ref, archive: string, arrived: Arrived): Promise<CacheEntry> {
    const { etag, sha256, digest: expected, isAsked } = arrived;
    return this.entries.stage(async (folder) => {
      renameSync(archive, inGeneration.archive(folder));
      const bytes = statSync(inGeneration.archive(folder)).size;
      const digest = await this.#digestOf(folder, arrived);
      if (expected !== null && digest !== expected) {
        throw new StorageError('corrupt', `Cannot get ${formatRef(ref)}: it holds other content`);
      }
      const file = { etag, sha256, bytes, digest, checked_at: isAsked ? this.#now() : 0 };
      const hasTree = this.#readTree(folder) !== null;
      const isAsGood = (entry: CacheEntry) => !hasTree || this.isLaidOut(entry);
      return this.entries.put(ref, folder, file, isAsGood);
    });
  }

  /** Of what the archive in a staged folder holds, by its files. */
  async #digestOf(folder: string, { trusted, layOut }: Handling): Promise<string> {
    const isRead = trusted && !layOut;
    const own = isRead ? await unlessDamaged(async () => this.#readOwn(folder)) : null;
    if (own !== null) return own.digest;
    const scratch = this.entries.stagePath();
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

  #readTree(folder: string) {
    const { root, path } = this.placeOf(folder);
    return readTreeFile(root, path);
  }

  /** The manifest of an entry. @throws StorageError `corrupt` */
  readManifest({ ref, path: folder, digest }: CacheEntry): Manifest {
    const manifest =
      this.#trees.findManifest(ref, digest) ?? manifestIn(folder, (path) => this.placeOf(path));
    if (manifest !== null) return manifest;
    throw new StorageError('corrupt', `Cannot read "${folder}": it has no archive`);
  }

  /** Whether the tree of an entry is there, whole. */
  isLaidOut(entry: CacheEntry): boolean {
    return this.#trees.findManifest(entry.ref, entry.digest) !== null;
  }

  /**
   * Has the tree of an entry be there. The whole folder is made anew beside it, and takes its place.
   *
   * @throws StorageError `corrupt` where its archive is not what it was, or it was evicted
   */
  async layOut(entry: CacheEntry): Promise<void> {
    if (this.isLaidOut(entry)) return;
    await this.#running.run(`tree ${entry.path}`, () =>
      this.entries.stage(async (folder) => {
        await copyArchive(entry.path, folder);
        const digest = await this.#digestOf(folder, { trusted: true, layOut: true });
        if (digest !== entry.digest) throw damaged('it holds other content');
        await this.entries.put(entry.ref, folder, toFile(entry), (old) => this.isLaidOut(old));
      }),
    );
  }

  /**
   * Where the blocks of an entry's archive are; `null` where it is to be read whole: it is small, or that
   * cannot be written down here. It is found out once, every byte compared.
   *
   * @throws StorageError `corrupt`
   */
  async readBlockIndex({ ref, path, sha256, digest }: CacheEntry): Promise<BlockIndex | null> {
    const find = () => {
      const facts = this.#archives.readFacts(ref);
      return facts?.sha256 === sha256 ? facts : null;
    };
    const known = find();
    if (known !== null) return known.blockIndex;
    try {
      await this.#running.run(`index ${path}`, () => this.#archives.describe(ref, digest));
    } catch (error) {
      if (!isUnwritable(error)) throw error;
    }
    return find()?.blockIndex ?? null;
  }

  /** Reads every byte of an entry. Returns what is the matter with it, a sentence each. */
  async check(entry: CacheEntry, signal?: AbortSignal): Promise<string[]> {
    try {
      // What a copy is is mostly not written down yet beside its archive.
      await this.readBlockIndex(entry);
      return await this.#trees.check(entry.ref, entry.digest, signal);
    } catch (error) {
      if (error instanceof StorageError && error.code === 'corrupt') return [error.message];
      throw error;
    }
  }

  /**
   * Takes away what is damaged of an entry: its tree, which is laid out again from the archive, or all of it where the
   * archive is not what it was.
   *
   * @returns whether the archive is
   */
  async dropDamaged(entry: CacheEntry): Promise<boolean> {
    const found = await hashFile(inGeneration.archive(entry.path)).catch(() => null);
    const isSound = found?.sha256 === entry.sha256;
    if (isSound) await rm(inGeneration.tree(entry.path), { force: true });
    else await this.entries.discard(entry.path);
    return isSound;
  }

  /** Bytes of an entry's archive and tree. */
  bytesOf({ path, bytes }: CacheEntry): number {
    try {
      return bytes + (this.#readTree(path)?.bytes ?? 0);
    } catch {
      // Something else lies in its place: it is no tree.
      return bytes;
    }
  }
}

/** By a hard link, where the file system has them. */
async function copyArchive(from: string, to: string): Promise<void> {
  const [old, copy] = [inGeneration.archive(from), inGeneration.archive(to)];
  try {
    linkSync(old, copy);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return copyFile(old, copy);
    throw damaged('it is gone', error);
  }
}
