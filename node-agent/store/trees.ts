import { renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type Manifest, parseManifest, type Ref, StorageError } from '../contract.ts';
import { isMissing } from '../disk/list-folder.ts';
import { findText } from '../disk/read-manifest.ts';
import { SharedRuns } from '../threads/shared-runs.ts';
import { sha256Hex } from './hash.ts';
import { dropTree, findLaidOut, readTreeFile } from './lay-out.ts';
import { inGeneration } from './layout.ts';
import type { ViewParts } from './work.ts';

/** A tree that may be removed. */
export type LaidOut = Readonly<{
  ref: Ref;
  /** Of its files. */
  bytes: number;
  /** When it was asked for last, in milliseconds. */
  usedAt: number;
}>;

/** The trees of generations: views of their archives, laid out where a path is asked for. */
export class Trees {
  readonly #parts: ViewParts;
  /** Once for everybody who wants the same. */
  readonly #running = new SharedRuns<void>();

  constructor(parts: ViewParts) {
    this.#parts = parts;
  }

  /** Whether the tree of a generation is there, whole, with a content. */
  isThere(ref: Ref, digest: string): boolean {
    const { root, path } = this.#placeOf(ref);
    return findLaidOut(root, path, digest) !== null;
  }

  /** Whether a tree is one of the Python system's, beside whose files may lie what is nowhere else. */
  isKept(ref: Ref): boolean {
    const { root, path } = this.#placeOf(ref);
    return readTreeFile(root, path)?.kept === true;
  }

  /** The manifest of a tree that is there, with a content; `null` where it is not, or was damaged. */
  findManifest(ref: Ref, digest: string): Manifest | null {
    const { root, path } = this.#placeOf(ref);
    const tree = findLaidOut(root, path, digest);
    if (tree === null) return null;
    try {
      const text = findText({ root, path: inGeneration.manifest(path) });
      if (text === null || sha256Hex(text) !== tree.manifest) return null;
      return parseManifest(text, inGeneration.manifest(path));
    } catch (error) {
      if (error instanceof StorageError && error.code === 'corrupt') return null;
      throw error;
    }
  }

  /**
   * Lays the tree of a generation out from its archive, in the place of what lies there. The generation
   * is to be locked.
   *
   * @throws StorageError `corrupt` where the archive is not what it was, `disk_full`
   */
  layOut(ref: Ref): Promise<void> {
    const folder = this.#parts.layout.generation(ref);
    const { work, staging, limits } = this.#parts;
    return this.#running.run(folder, () =>
      work.layOut({ folder, scratch: staging.pathToPlace(), limits }),
    );
  }

  /**
   * Notes that a tree was asked for: the least recently used go first.
   *
   * @returns whether it is still there: nobody removes it in the next ten minutes then
   */
  markUsed(ref: Ref, now: number): boolean {
    const file = inGeneration.tree(this.#parts.layout.generation(ref));
    try {
      utimesSync(file, now / 1000, now / 1000);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /** Those of a project, but for what the Python system left beside files of it. */
  list(projectId: string): LaidOut[] {
    const { layout } = this.#parts;
    return layout.listRefs(projectId).flatMap((ref) => {
      const { root, path } = this.#placeOf(ref);
      const tree = readTreeFile(root, path);
      const file = inGeneration.tree(layout.generation(ref));
      const stat = statSync(file, { throwIfNoEntry: false });
      if (tree === null || tree.kept || stat === undefined) return [];
      return [{ ref, bytes: tree.bytes, usedAt: stat.mtimeMs }];
    });
  }

  /**
   * Removes a tree. The generation is to be locked.
   *
   * @param usedAt as it was listed: not where it was asked for since
   * @returns whether it was removed
   */
  async drop(ref: Ref, usedAt: number): Promise<boolean> {
    const folder = this.#parts.layout.generation(ref);
    const [mark, source, artifacts] = [1, 2, 3].map(() => this.#parts.staging.path()) as [
      string,
      string,
      string,
    ];
    try {
      // Whoever asks for it from here on finds none, and waits.
      renameSync(inGeneration.tree(folder), mark);
      if (statSync(mark).mtimeMs !== usedAt) {
        renameSync(mark, inGeneration.tree(folder));
        return false;
      }
      renameSync(inGeneration.source(folder), source);
      rmSync(inGeneration.manifest(folder), { force: true });
      renameSync(inGeneration.artifacts(folder), artifacts);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EXDEV') dropTree(folder);
      else if (!isMissing(error)) throw error;
    }
    for (const path of [mark, source, artifacts]) await rm(path, { recursive: true, force: true });
    return true;
  }

  /** Fsyncs the tree of a generation, for a link to it that is read without us. */
  sync(ref: Ref): Promise<void> {
    return this.#parts.work.sync(this.#parts.layout.generation(ref));
  }

  /**
   * Reads every byte of a generation.
   *
   * @param digest what it has to hold
   * @returns what is the matter with it, a sentence each
   */
  check(ref: Ref, digest: string, signal?: AbortSignal): Promise<string[]> {
    return this.#parts.work.check({ folder: this.#parts.layout.generation(ref), digest }, signal);
  }

  #placeOf(ref: Ref): { root: string; path: string } {
    return this.#parts.layout.placeOf(this.#parts.layout.generation(ref));
  }
}
