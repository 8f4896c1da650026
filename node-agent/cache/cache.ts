import { randomUUID } from 'node:crypto';
import { existsSync, realpathSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Unpacked, UnpackInput } from '../archive/unpack.ts';
import {
  folderName,
  formatRef,
  isId,
  type Limits,
  parseFolderName,
  type Ref,
  StorageError,
} from '../contract.ts';
import { listFolder } from '../disk/list-folder.ts';
import { makeFolders } from '../disk/make-folders.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import { readManifest } from '../disk/read-manifest.ts';
import { type CacheEntry, ENTRY_FILE, type EntryFile, readEntry } from './entry.ts';

export type CacheOptions = Readonly<{
  /** Absolute. */
  path: string;
  /** How long an entry is good without asking the cloud, in milliseconds. */
  ttlMs: number;
  /** Entries that nobody used for so long are evicted, in milliseconds. */
  maxAgeMs: number;
  /** Bytes of files in all; beyond, the least recently used go. */
  maxBytes: number;
}>;

/** Unpacking, done elsewhere than on the event loop. */
export type UnpackWork = { unpack(input: UnpackInput): Promise<Unpacked> };

const STAGING = '.staging';

/** Whoever was given a path so recently may still be reading it, in milliseconds. */
export const IN_USE_MS = 10 * 60_000;

/** Copies of generations from the cloud, unpacked: whole or not there. */
export class Cache {
  readonly #options: CacheOptions;
  readonly #limits: Limits;
  readonly #work: UnpackWork;
  readonly #now: () => number;
  readonly #staging: string;
  readonly #checked = new Set<string>();

  /** @param instanceId names the staging folder that is this process's own */
  constructor(
    options: CacheOptions,
    parts: { limits: Limits; work: UnpackWork; now: () => number; instanceId: string },
  ) {
    this.#options = options;
    this.#limits = parts.limits;
    this.#work = parts.work;
    this.#now = parts.now;
    this.#staging = join(options.path, STAGING, parts.instanceId);
  }

  /** Where a path of the cache is, seen from the real path of its folder. */
  placeOf(path: string): { root: string; path: string } {
    const { path: root } = this.#options;
    return { root: realpathSync(root), path: relative(root, path) };
  }

  /** Finds a version; `null` where it is not cached. Its generation id must match where given. */
  find(projectId: string, version: number, generationId?: string): CacheEntry | null {
    const folder = join(this.#options.path, projectId);
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
  markFresh(entry: CacheEntry): void {
    const { etag, sha256, digest, bytes } = entry;
    this.#writeEntryFile(entry.path, { etag, sha256, digest, bytes, checked_at: this.#now() });
  }

  /** A new file to download an archive into. */
  stageFile(): string {
    makeFolders(this.#staging);
    return join(this.#staging, randomUUID());
  }

  /**
   * Unpacks an archive whose bytes were checked, and makes it an entry: the rename is the commit.
   *
   * @param facts.digest of what it has to hold; `null`: whatever it holds
   * @param facts.trusted whether its hash is one that was recorded
   * @throws StorageError `corrupt`, `invalid_input`, `too_large`; nothing of it is left then
   */
  async install(
    ref: Ref,
    archive: string,
    facts: { etag: string; sha256: string; digest: string | null; trusted: boolean },
  ): Promise<CacheEntry> {
    const folder = this.stageFile();
    const { trusted, digest: expected, ...recorded } = facts;
    try {
      const unpacked = await this.#work.unpack({ archive, folder, limits: this.#limits, trusted });
      const { bytes, manifest } = unpacked;
      if (expected !== null && unpacked.digest !== expected) {
        throw new StorageError('corrupt', `Cannot get ${formatRef(ref)}: it holds other content`);
      }
      const digest = manifest.digest === undefined ? null : unpacked.digest;
      this.#writeEntryFile(folder, { ...recorded, digest, bytes, checked_at: this.#now() });
      const place = this.#place(ref);
      makeFolders(join(place, '..'));
      const old = this.find(ref.projectId, ref.version);
      if (old !== null && this.#isSame(old, ref, facts.sha256)) {
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
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  #isSame(entry: CacheEntry, ref: Ref, sha256: string): boolean {
    const { generationId } = entry.ref;
    return generationId === ref.generationId && entry.sha256 === sha256 && this.isWhole(entry);
  }

  /** Takes an entry away: at once for readers to come. */
  async evict(entry: CacheEntry): Promise<void> {
    this.#checked.delete(entry.path);
    await this.#discard(entry.path);
  }

  /**
   * Tells whether the files of an entry are there in their sizes: they are not synced, and a power
   * loss may have taken some. Looked at once for each entry and process.
   */
  isWhole(entry: CacheEntry): boolean {
    if (this.#checked.has(entry.path)) return true;
    try {
      const manifest = readManifest(this.placeOf(join(entry.path, 'manifest.json')));
      for (const file of manifest.entries ?? []) {
        if (statSync(join(entry.path, 'source', file.path)).size !== file.size) return false;
      }
    } catch {
      return false;
    }
    this.#checked.add(entry.path);
    return true;
  }

  async #discard(path: string): Promise<void> {
    const trash = this.stageFile();
    try {
      renameSync(path, trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(trash, { recursive: true, force: true });
  }

  /** Evicts what is too old, then what is too much, least recently used first; never what is in use. */
  async cleanup(): Promise<{ evicted: number; bytes: number }> {
    const entries = [...this.#entries()].sort((a, b) => a.usedAt - b.usedAt);
    let total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const result = { evicted: 0, bytes: 0 };
    for (const entry of entries) {
      const idle = this.#now() - entry.usedAt;
      if (idle < IN_USE_MS) continue;
      if (idle < this.#options.maxAgeMs && total <= this.#options.maxBytes) continue;
      // It may have been handed out since it was listed.
      const now = readEntry(entry.ref, entry.path);
      if (now === null || now.usedAt !== entry.usedAt) continue;
      await this.evict(entry);
      total -= entry.bytes;
      result.evicted++;
      result.bytes += entry.bytes;
    }
    return result;
  }

  /** Removes what instances that are gone left in staging. */
  async sweepStaging(isGone: (instanceId: string) => boolean): Promise<void> {
    const staging = join(this.#options.path, STAGING);
    for (const instanceId of listFolder(staging)) {
      if (isGone(instanceId)) await rm(join(staging, instanceId), { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    await rm(this.#staging, { recursive: true, force: true });
  }

  *#entries(): Iterable<CacheEntry> {
    for (const projectId of listFolder(this.#options.path).filter(isId)) {
      for (const name of listFolder(join(this.#options.path, projectId))) {
        const parsed = parseFolderName(name);
        if (parsed === null) continue;
        const entry = readEntry(
          { projectId, ...parsed },
          join(this.#options.path, projectId, name),
        );
        if (entry !== null) yield entry;
      }
    }
  }

  #place(ref: Ref): string {
    return join(this.#options.path, ref.projectId, folderName(ref));
  }

  #writeEntryFile(folder: string, entry: EntryFile): void {
    const temporary = this.stageFile();
    writeFileSync(temporary, JSON.stringify(entry), { flag: 'wx', mode: PRIVATE_FILE });
    const now = this.#now() / 1000;
    utimesSync(temporary, now, now);
    renameSync(temporary, join(folder, ENTRY_FILE));
  }
}
