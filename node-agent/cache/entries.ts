import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isId, type Ref } from '../contract.ts';
import { isUnwritable } from '../disk/file-errors.ts';
import { listFolder } from '../disk/list-folder.ts';
import { makeFolders } from '../disk/make-folders.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { Layout } from '../store/layout.ts';
import { Staging } from '../store/staging.ts';
import { type CacheEntry, ENTRY_FILE, type EntryFile, readEntry } from './entry.ts';

/** What the file system says of a place that is taken. */
const TAKEN: ReadonlySet<string> = new Set(['ENOTEMPTY', 'EEXIST']);
/** How often it is tried to put something where others do. */
const ATTEMPTS = 10;

/** What lies in the cache, whether it is an entry or was one. */
export type Cached = Readonly<{ ref: Ref; path: string; entry: CacheEntry | null }>;

/** The folders of the cache: each comes by a rename, and goes by one. */
export class Entries {
  readonly layout: Layout;
  readonly #staging: Staging;
  readonly #now: () => number;

  /**
   * @param root absolute
   * @param instanceId names the staging folder that is this process's own
   */
  constructor(root: string, instanceId: string, now: () => number) {
    this.layout = new Layout(root);
    this.#staging = new Staging(this.layout, instanceId);
    this.#now = now;
  }

  /** Finds a version; `null` where it is not cached. Its generation id must match where given. */
  find(projectId: string, version: number, generationId?: string): CacheEntry | null {
    for (const { ref, entry } of this.#listProject(projectId)) {
      const isOther = generationId !== undefined && ref.generationId !== generationId;
      if (ref.version === version && !isOther && entry !== null) return entry;
    }
    return null;
  }

  /** All that lies there. */
  *list(): Iterable<Cached> {
    for (const projectId of listFolder(this.layout.root).filter(isId)) {
      yield* this.#listProject(projectId);
    }
  }

  *#listProject(projectId: string): Iterable<Cached> {
    for (const ref of this.layout.listRefs(projectId)) {
      const path = this.layout.generation(ref);
      yield { ref, path, entry: readEntry(ref, path) };
    }
  }

  /** A new path of this process, on the file system of the cache. */
  stagePath(): string {
    // Made where it is needed: a host may never fetch anything, and somebody may remove the cache.
    makeFolders(this.layout.staging);
    return this.#staging.path();
  }

  /** Works in a new folder, of which nothing is left in staging. */
  async stage<T>(work: (folder: string) => Promise<T>): Promise<T> {
    const folder = this.stagePath();
    try {
      mkdirSync(folder, PRIVATE_FOLDER);
      return await work(folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /**
   * Puts a staged folder in its place: what lies under its version goes, unless it is as good.
   *
   * @param isAsGood whoever was quicker may be reading it: then it stays
   */
  async put(
    ref: Ref,
    folder: string,
    file: EntryFile,
    isAsGood: (entry: CacheEntry) => boolean,
  ): Promise<CacheEntry> {
    const place = this.layout.generation(ref);
    this.#write(folder, file);
    for (let attempt = 1; ; attempt++) {
      makeFolders(dirname(place));
      const old = this.find(ref.projectId, ref.version);
      const isSame = old?.path === place && old.sha256 === file.sha256;
      if (isSame && isAsGood(old) && this.note(old, file)) return { ...old, ...file };
      await this.discard(old?.path ?? place);
      try {
        renameSync(folder, place);
        return { ...file, ref, path: place, usedAt: this.#now() };
      } catch (error) {
        // Another process put something there.
        const isTaken = TAKEN.has((error as NodeJS.ErrnoException).code ?? '');
        if (!isTaken || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /**
   * Notes anew what is known of an entry.
   *
   * @returns whether it is still there
   */
  note(entry: CacheEntry, file: EntryFile): boolean {
    if (readEntry(entry.ref, entry.path)?.sha256 !== entry.sha256) return false;
    unlessUnwritable(() => this.#write(entry.path, file));
    return true;
  }

  /** Notes that an entry was asked for: the least recently used go first. */
  markUsed(entry: CacheEntry): void {
    const now = this.#now() / 1000;
    unlessUnwritable(() => utimesSync(join(entry.path, ENTRY_FILE), now, now));
  }

  /** Takes away what lies at a path: at once for readers to come. */
  async discard(path: string): Promise<void> {
    if (!existsSync(path)) return;
    let gone = path;
    try {
      gone = this.stagePath();
      renameSync(path, gone);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      if (!isUnwritable(error)) throw error;
      // No room for a folder to move it to: without this it is no entry.
      rmSync(join(path, ENTRY_FILE), { force: true });
      gone = path;
    }
    await rm(gone, { recursive: true, force: true });
  }

  /** Removes what instances that are gone left in staging. */
  async sweepStaging(isGone: (instanceId: string) => boolean): Promise<void> {
    await this.#staging.sweep(isGone);
  }

  async close(): Promise<void> {
    await this.#staging.close();
  }

  #write(folder: string, file: EntryFile): void {
    const temporary = this.stagePath();
    const now = this.#now() / 1000;
    try {
      writeFileSync(temporary, JSON.stringify(file), { flag: 'wx', mode: PRIVATE_FILE });
      utimesSync(temporary, now, now);
      renameSync(temporary, join(folder, ENTRY_FILE));
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }
}

/** Notes something of a copy: it is served all the same where that cannot be written. */
function unlessUnwritable(write: () => void): void {
  try {
    write();
  } catch (error) {
    const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (!isGone && !isUnwritable(error)) throw error;
  }
}
