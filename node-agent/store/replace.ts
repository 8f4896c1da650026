import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { formatRef, type Ref } from '../contract.ts';
import { fromFileSystem, isDiskFull } from '../disk/file-errors.ts';
import { isMissing, listFolder } from '../disk/list-folder.ts';
import type { Committed } from './commit.ts';
import { makeFolder, moveFolder, syncPath, writeFileDurably } from './durable.ts';
import { archiveIn, readTreeFile, treePartsOf } from './lay-out.ts';
import { inGeneration } from './layout.ts';
import { type FolderChange, stampOf } from './project-stamp.ts';
import { type SaveDetails, stageInputOf, withStaging } from './save-details.ts';
import type { Source } from './source.ts';
import { replacedIn, type Trash, type Trashed } from './trash.ts';
import type { StoreParts } from './work.ts';

/**
 * A replacement that is under way. Paths are relative to staging: a store may be moved. `isCopied`: the
 * old content could not be renamed; it lies at `old` whole, and goes from its place piece by piece.
 */
type Journal = Readonly<{ ref: Ref; staged: string; old: string; isCopied?: boolean }>;

/** What is to become of the old content: it can be had back until its time, in ISO 8601. */
export type Keep = Readonly<{ digest: string; purgeAt: string }>;

/** Swaps generations for other content, by a journal. */
export class Replacements {
  readonly #parts: StoreParts & { trash: Trash };

  constructor(parts: StoreParts & { trash: Trash }) {
    this.#parts = parts;
  }

  /**
   * Puts other content in the place of a generation. Two renames cannot be one, so a journal is
   * written before them: a crash in between is finished by {@link recover}.
   *
   * @param keep `null`: the old content goes for good. It does too on a disk that is full
   * @param swapped called once the new content is in place for good; where it fails, the old one
   *   is put back
   */
  async replace(
    ref: Ref,
    source: Source,
    details: SaveDetails,
    keep: Keep | null,
    swapped: (staged: Committed) => Promise<void>,
  ): Promise<Committed> {
    const { layout, staging } = this.#parts;
    let kept: Trashed | null = null;
    let old = staging.path();
    const result = await withStaging(this.#parts.staging, ref, source, async (staged) => {
      const result = await this.#parts.work.stage({
        ...stageInputOf(ref, source, details, this.#parts.limits),
        folder: staged,
      });
      await this.#layOutLike(ref, staged);
      await makeFolder(layout.replacing, layout.own);
      kept = keep === null ? null : await this.#prepareTrash(ref, keep);
      if (kept !== null) old = replacedIn(kept);
      try {
        const journal = { ref, staged, old };
        await this.#writeJournal(journal);
        return { ...result, change: await this.#swap(journal) };
      } catch (error) {
        // It was renamed, and cannot be made to last.
        const isSwapped = !existsSync(staged) && existsSync(layout.generation(ref));
        // What cannot be put back now a restart decides.
        if (isSwapped) await this.#swapBack(ref, old).catch(() => {});
        await this.#dropUnused(kept);
        throw error;
      }
    });
    try {
      await swapped(result);
    } catch (error) {
      await this.#swapBack(ref, old);
      await this.#dropUnused(kept);
      throw fromFileSystem(error, `save ${formatRef(ref)}`);
    }
    await this.#tidy(ref, old, kept !== null);
    return result;
  }

  /** It is replaced: what cannot be removed now the next start removes, or the purge. */
  async #tidy(ref: Ref, old: string, isKept: boolean): Promise<void> {
    const { layout } = this.#parts;
    const left = isKept ? this.#listUnneeded(old) : [old];
    for (const path of [layout.journal(ref), ...left]) {
      await rm(path, { recursive: true, force: true }).catch(() => {});
    }
  }

  /** The archive has all that is in a tree of ours; beside the files of an old one may lie what is nowhere else. */
  #listUnneeded(kept: string): string[] {
    const { root, path } = this.#parts.layout.placeOf(kept);
    const isNeeded = readTreeFile(root, path)?.kept === true || archiveIn(kept) === null;
    return isNeeded ? [] : treePartsOf(kept);
  }

  /** @returns where what is to be kept goes; `null` where there is no room for it */
  async #prepareTrash(ref: Ref, keep: Keep): Promise<Trashed | null> {
    try {
      return await this.#parts.trash.prepare({ ref, ...keep, wasActive: false });
    } catch (error) {
      const known = fromFileSystem(error, `save ${formatRef(ref)}`);
      if (!isDiskFull(known)) throw known;
      return null;
    }
  }

  /** Nothing was replaced, and nothing came there. */
  async #dropUnused(kept: Trashed | null): Promise<void> {
    if (kept === null || existsSync(replacedIn(kept))) return;
    await this.#parts.trash.remove(kept).catch(() => {});
  }

  /** Whoever reads a path that was handed out, or the link to the active one, finds a tree there. */
  async #layOutLike(ref: Ref, staged: string): Promise<void> {
    const { layout, work, staging, limits } = this.#parts;
    if (!existsSync(inGeneration.tree(layout.generation(ref)))) return;
    await work.layOut({ folder: staged, scratch: staging.path(), limits });
    await work.sync(staged);
  }

  async #writeJournal(journal: Journal): Promise<void> {
    const inStaging = (path: string) => relative(this.#parts.layout.staging, path);
    const { staged, old } = journal;
    const written = { ...journal, staged: inStaging(staged), old: inStaging(old) };
    const temporary = this.#parts.staging.path();
    await writeFileDurably(
      this.#parts.layout.journal(journal.ref),
      JSON.stringify(written),
      temporary,
    );
  }

  async #swap(journal: Journal): Promise<FolderChange> {
    const { ref, staged, old } = journal;
    const place = this.#parts.layout.generation(ref);
    let isCopied = false;
    const beforeRemoval = async () => {
      await this.#parts.work.sync(old);
      await syncPath(dirname(old));
      isCopied = true;
      await this.#writeJournal({ ...journal, isCopied: true });
    };
    const before = stampOf(dirname(place));
    try {
      if (existsSync(place)) await moveFolder(place, old, beforeRemoval);
    } catch (error) {
      // A part of a copy is nothing to keep.
      if (!isCopied && existsSync(place)) await rm(old, { recursive: true, force: true });
      throw error;
    }
    let after: string | null;
    try {
      renameSync(staged, place);
      after = stampOf(dirname(place));
    } catch (error) {
      // What cannot be replaced stays: it must not go with the staging folder.
      if (existsSync(old)) renameSync(old, place);
      throw error;
    }
    // What is kept is there for good before it is gone from its place.
    if (dirname(old) !== dirname(staged)) await syncPath(dirname(old));
    await syncPath(dirname(place));
    return { before, after };
  }

  async #swapBack(ref: Ref, old: string): Promise<void> {
    const place = this.#parts.layout.generation(ref);
    const dropped = this.#parts.staging.path();
    renameSync(place, dropped);
    // Of what was taken out of the store nothing was there.
    if (existsSync(old)) renameSync(old, place);
    await syncPath(dirname(place));
    rmSync(this.#parts.layout.journal(ref), { force: true });
    await rm(dropped, { recursive: true, force: true });
  }

  /**
   * Finishes the replacements of instances that ended in the middle: forward where the old content
   * was already moved away, back where the new is not there.
   *
   * @returns the generations whose content may be another than the catalog says; `done` is to be
   *   called once it says so: until then a start has to look again
   */
  async recover(isGone: (instanceId: string) => boolean): Promise<{ ref: Ref; done(): void }[]> {
    const recovered: { ref: Ref; done(): void }[] = [];
    for (const name of listFolder(this.#parts.layout.replacing)) {
      const file = join(this.#parts.layout.replacing, name);
      const journal = readJournal(file, this.#parts.layout.staging);
      if (journal === null || !isGone(basename(dirname(journal.staged)))) continue;
      if (existsSync(journal.staged)) {
        // Of two that are there one is a copy: the old one, once that is whole.
        const place = this.#parts.layout.generation(journal.ref);
        const copy = journal.isCopied === true ? place : existsSync(place) ? journal.old : null;
        if (copy !== null) await rm(copy, { recursive: true, force: true });
      }
      if (!existsSync(this.#parts.layout.generation(journal.ref))) {
        if (existsSync(journal.staged)) await this.#swap(journal);
        else if (existsSync(journal.old)) {
          renameSync(journal.old, this.#parts.layout.generation(journal.ref));
          await syncPath(this.#parts.layout.generations(journal.ref.projectId));
        }
      }
      recovered.push({ ref: journal.ref, done: () => rmSync(file, { force: true }) });
    }
    return recovered;
  }
}

/** With absolute paths; `null` where another process removed it just now. */
function readJournal(file: string, staging: string): Journal | null {
  const text = readOrNull(file);
  if (text === null) return null;
  const journal = JSON.parse(text) as Journal;
  const { staged, old } = journal;
  return { ...journal, staged: resolve(staging, staged), old: resolve(staging, old) };
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}
