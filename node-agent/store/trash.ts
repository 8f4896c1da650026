import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { lstat, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { formatRef, isId, isVersion, type Ref } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { listFolder } from '../disk/list-folder.ts';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { makeFolder, moveFolder, syncPath } from './durable.ts';
import type { Layout } from './layout.ts';
import { readText } from './read-text.ts';
import type { Staging } from './staging.ts';

/** A deleted generation that can be had back. Times are ISO 8601. */
export type Trashed = Readonly<{
  ref: Ref;
  /** From when on it may go. */
  purgeAt: string;
  /** Whether it was the active one of its project. */
  wasActive: boolean;
}>;

/** What is kept beside it. */
type TrashFile = Readonly<{
  project_id: string;
  version: number;
  generation_id: string;
  purge_at: string;
  was_active: boolean;
}>;

const FACTS = 'trash.json';
const CONTENT = 'content';

/**
 * What was deleted and can be had back: a folder a generation, with what is known of it and what lay in the
 * store. What the tombstone says counts: one that is here and not deleted is left from a crash.
 */
export class Trash {
  readonly #layout: Layout;
  readonly #staging: Staging;

  constructor(layout: Layout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /**
   * Moves what lies of a generation here. May be repeated: what an earlier call left is moved, too.
   *
   * @param paths of what is moved, of which none need be there
   */
  async put({ ref, purgeAt, wasActive }: Trashed, paths: readonly string[]): Promise<void> {
    const folder = this.#layout.trashed(ref);
    if (this.find(ref) === null) await this.#make(folder, { ref, purgeAt, wasActive });
    for (const path of paths) {
      const to = join(folder, CONTENT, basename(path));
      if (!existsSync(path)) continue;
      // Of an earlier deletion, which was undone.
      await rm(to, { recursive: true, force: true });
      await moveFolder(path, to);
    }
    await syncPath(join(folder, CONTENT));
  }

  /** What is known of a generation that is here; `null` where it is not. */
  find(ref: Ref): Trashed | null {
    return this.#read(this.#layout.trashed(ref));
  }

  /** All that is here. */
  list(): Trashed[] {
    return listFolder(this.#layout.trash).flatMap(
      (name) => this.#read(join(this.#layout.trash, name)) ?? [],
    );
  }

  /**
   * Moves a generation back to where it lay; what lies there stays. The tombstone goes after that.
   *
   * @param to where that was, by the name of what is moved
   * @returns whether it was here
   */
  async takeBack(ref: Ref, to: (name: string) => string): Promise<boolean> {
    const folder = join(this.#layout.trashed(ref), CONTENT);
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

  /** Gives a generation up for good. Returns how many bytes its files had; 0 where it was not here. */
  async drop(ref: Ref): Promise<number> {
    const folder = this.#layout.trashed(ref);
    if (!existsSync(folder)) return 0;
    const bytes = await bytesOf(folder);
    const away = this.#staging.path();
    try {
      renameSync(folder, away);
      await syncPath(this.#layout.trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      await rm(folder, { recursive: true, force: true });
    }
    await rm(away, { recursive: true, force: true });
    return bytes;
  }

  /** It is whole under its name, or not there. */
  async #make(folder: string, { ref, purgeAt, wasActive }: Trashed): Promise<void> {
    const facts: TrashFile = {
      ...{ project_id: ref.projectId, version: ref.version, generation_id: ref.generationId },
      ...{ purge_at: purgeAt, was_active: wasActive },
    };
    const staged = this.#staging.pathToPlace();
    mkdirSync(join(staged, CONTENT), { recursive: true, mode: PRIVATE_FOLDER });
    await writeFile(join(staged, FACTS), `${JSON.stringify(facts, null, 2)}\n`, {
      mode: PRIVATE_FILE,
      flush: true,
    });
    await syncPath(staged);
    await makeFolder(this.#layout.trash, this.#layout.own);
    await rm(folder, { recursive: true, force: true });
    renameSync(staged, folder);
    await syncPath(this.#layout.trash);
  }

  #read(folder: string): Trashed | null {
    const text = readText(this.#layout, join(folder, FACTS));
    try {
      const facts = JSON.parse(text ?? 'null') as TrashFile | null;
      if (facts === null || !isId(facts.project_id)) return null;
      if (!isVersion(facts.version) || !isId(facts.generation_id)) return null;
      const { project_id, version, generation_id, purge_at, was_active } = facts;
      return {
        ref: { projectId: project_id, version, generationId: generation_id },
        purgeAt: purge_at,
        wasActive: was_active,
      };
    } catch {
      return null;
    }
  }
}

async function bytesOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder, { recursive: true })) {
    bytes += (await lstat(join(folder, name))).size;
  }
  return bytes;
}
