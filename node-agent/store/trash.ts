import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { lstat, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { folderName, formatRef, isId, isVersion, type Ref } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { listFolder } from '../disk/list-folder.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { makeFolder, moveFolder, syncPath } from './durable.ts';
import type { Layout } from './layout.ts';
import { readText } from './read-text.ts';
import type { Staging } from './staging.ts';

/** What is known of what can be had back. Times are ISO 8601. */
type Facts = Readonly<{
  ref: Ref;
  /** Of content that something else took the place of; `null`: all of a generation that was deleted. */
  digest: string | null;
  /** From when on it may go. */
  purgeAt: string;
  /** Whether it was the active one of its project. */
  wasActive: boolean;
}>;

/** One that is here. */
export type Trashed = Facts & Readonly<{ path: string }>;

/** Content that something else took the place of. */
export type Replaced = Trashed & Readonly<{ digest: string }>;

/** What is kept beside it. */
type TrashFile = Readonly<{
  project_id: string;
  version: number;
  generation_id: string;
  digest: string | null;
  purge_at: string;
  was_active: boolean;
}>;

const FACTS = 'trash.json';
const CONTENT = 'content';

/**
 * What was deleted or replaced and can be had back: a folder each, with what is known of it and what lay in the
 * store. Each goes at its time, whatever became of its tombstone.
 */
export class Trash {
  readonly #layout: Layout;
  readonly #staging: Staging;

  constructor(layout: Layout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /**
   * Makes room for it under its name, before it is deleted or replaced. May be repeated. What lies there of an
   * earlier time stays until its own time.
   */
  async prepare(facts: Facts): Promise<Trashed> {
    const folder = this.#layout.trashed(facts.ref, facts.digest);
    const known = this.#read(folder);
    const isUsed = known !== null && facts.digest !== null && existsSync(replacedIn(known));
    if (known?.purgeAt === facts.purgeAt && !isUsed) return known;
    const staged = this.#staging.pathToPlace();
    mkdirSync(join(staged, CONTENT), { recursive: true, mode: PRIVATE_FOLDER });
    await writeFile(join(staged, FACTS), `${JSON.stringify(toFile(facts), null, 2)}\n`, {
      mode: PRIVATE_FILE,
      flush: true,
    });
    await syncPath(staged);
    await makeFolder(this.#layout.trash, this.#layout.own);
    if (existsSync(folder)) renameSync(folder, `${folder}.${randomUUID()}`);
    renameSync(staged, folder);
    await syncPath(this.#layout.trash);
    return { ...facts, path: folder };
  }

  /** Moves what lies of a deleted generation here, of which none need be there. May be repeated. */
  async put(ref: Ref, paths: readonly string[]): Promise<void> {
    const folder = join(this.#layout.trashed(ref, null), CONTENT);
    for (const path of paths) {
      if (existsSync(path)) await moveFolder(path, join(folder, basename(path)));
    }
    await syncPath(folder);
  }

  /** What is known of a deleted generation that is here; `null` where it is not. */
  find(ref: Ref): Trashed | null {
    return this.#read(this.#layout.trashed(ref, null));
  }

  /** The contents of a generation that are here, which something else took the place of: each once, the last first. */
  replacedOf(ref: Ref): Replaced[] {
    const found = new Map<string, Replaced>();
    for (const kept of this.#of(ref)) {
      const { digest, purgeAt } = kept;
      // One that was never replaced after all has nothing in it.
      if (digest === null || !existsSync(replacedIn(kept))) continue;
      if ((found.get(digest)?.purgeAt ?? '') < purgeAt) found.set(digest, { ...kept, digest });
    }
    return [...found.values()].sort((a, b) => b.purgeAt.localeCompare(a.purgeAt));
  }

  /** Has what a generation held before be that of another, to which it was moved. May be repeated. */
  async moveReplaced(from: Ref, to: Ref): Promise<void> {
    for (const kept of this.replacedOf(from)) {
      const moved = await this.prepare({ ...kept, ref: to });
      renameSync(replacedIn(kept), replacedIn(moved));
      await syncPath(join(moved.path, CONTENT));
      await this.remove(kept);
    }
  }

  #of(ref: Ref): Trashed[] {
    const start = basename(this.#layout.trashed(ref, null));
    return listFolder(this.#layout.trash).flatMap((name) => {
      if (!name.startsWith(start)) return [];
      return this.#read(join(this.#layout.trash, name)) ?? [];
    });
  }

  /** All that is here, one after another. */
  *list(): Generator<Trashed> {
    for (const name of listFolder(this.#layout.trash)) {
      const found = this.#read(join(this.#layout.trash, name));
      if (found !== null) yield found;
    }
  }

  /**
   * Moves a generation back to where it lay; what lies there stays. The tombstone goes after that.
   *
   * @param to where that was, by the name of what is moved
   * @returns whether it was here
   */
  async takeBack(ref: Ref, to: (name: string) => string): Promise<boolean> {
    const folder = join(this.#layout.trashed(ref, null), CONTENT);
    const names = listFolder(folder);
    try {
      for (const name of names) {
        if (!existsSync(to(name))) await moveFolder(join(folder, name), to(name));
      }
      if (names.length > 0) await syncPath(this.#layout.generations(ref.projectId));
    } catch (error) {
      throw fromFileSystem(error, `undelete ${formatRef(ref)}`);
    }
    return names.length > 0;
  }

  /**
   * Gives one up for good, and no other that took its place.
   *
   * @returns how many bytes its files had; 0 where it is not here any more
   */
  async remove({ path, purgeAt }: Trashed): Promise<number> {
    const away = this.#staging.path();
    try {
      if (this.#read(path)?.purgeAt !== purgeAt) return 0;
      renameSync(path, away);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') {
        throw fromFileSystem(error, `remove "${path}"`);
      }
      await rm(path, { recursive: true, force: true });
      return 0;
    }
    await syncPath(this.#layout.trash);
    const bytes = await bytesOf(away);
    await rm(away, { recursive: true, force: true });
    return bytes;
  }

  /** Gives a generation up for good, of which nothing can be undone any more. Returns whether anything was kept. */
  async drop(ref: Ref): Promise<boolean> {
    let bytes = 0;
    for (const kept of this.#of(ref)) bytes += await this.remove(kept);
    return bytes > 0;
  }

  #read(folder: string): Trashed | null {
    const text = readText(this.#layout, join(folder, FACTS));
    try {
      const facts = JSON.parse(text ?? 'null') as TrashFile | null;
      if (facts === null || !isId(facts.project_id)) return null;
      if (!isVersion(facts.version) || !isId(facts.generation_id)) return null;
      const { project_id, version, generation_id, digest, purge_at, was_active } = facts;
      return {
        path: folder,
        ref: { projectId: project_id, version, generationId: generation_id },
        digest: typeof digest === 'string' ? digest : null,
        purgeAt: purge_at,
        wasActive: was_active,
      };
    } catch {
      return null;
    }
  }
}

/** Where the folder of the generation lies in what is kept of its replaced content. */
export const replacedIn = ({ path, ref }: Pick<Trashed, 'path' | 'ref'>) =>
  join(path, CONTENT, folderName(ref));

function toFile({ ref, digest, purgeAt, wasActive }: Facts): TrashFile {
  return {
    ...{ project_id: ref.projectId, version: ref.version, generation_id: ref.generationId },
    ...{ digest, purge_at: purgeAt, was_active: wasActive },
  };
}

async function bytesOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder, { recursive: true })) {
    bytes += (await lstat(join(folder, name))).size;
  }
  return bytes;
}
