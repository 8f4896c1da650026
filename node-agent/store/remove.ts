import { existsSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { folderName, formatRef, type Ref } from '../contract.ts';
import { fromFileSystem, isDiskFull } from '../disk/file-errors.ts';
import type { Active } from './active.ts';
import { dropTree } from './lay-out.ts';
import { inGeneration, type Layout, listTars } from './layout.ts';
import { listFlat, mayBeFlat } from './legacy/flat.ts';
import { type FolderChange, stampOf } from './project-stamp.ts';
import type { Staging } from './staging.ts';
import type { Mark, Tombstones } from './tombstones.ts';
import type { Trash } from './trash.ts';

/** Takes generations away from the disk. */
export class Removals {
  readonly #layout: Layout;
  readonly #staging: Staging;
  readonly #tombstones: Tombstones;
  readonly #active: Active;
  readonly #trash: Trash;

  constructor(
    layout: Layout,
    staging: Staging,
    tombstones: Tombstones,
    active: Active,
    trash: Trash,
  ) {
    this.#layout = layout;
    this.#staging = staging;
    this.#tombstones = tombstones;
    this.#active = active;
    this.#trash = trash;
  }

  /**
   * Deletes a generation: first the tombstone, which is the commit, then the folder, which goes into the
   * trash where the tombstone says that it is kept. May be repeated, and finishes what an earlier call left.
   */
  delete(ref: Ref, mark: Omit<Mark, 'moved_to'>): Promise<FolderChange> {
    return this.#takeAway(ref, mark);
  }

  /**
   * Marks that a generation has another version now, under which it lies already, and takes it away
   * from where it was. Otherwise as {@link delete}.
   */
  async move(ref: Ref, to: number, at: string): Promise<void> {
    await this.#takeAway(ref, { deleted_at: at, moved_to: to });
  }

  /** Takes a generation away that nobody was told of. */
  async discard(ref: Ref): Promise<void> {
    const folder = this.#layout.generation(ref);
    if (!existsSync(folder)) return;
    await this.#removeFolder(folder);
  }

  async #takeAway(ref: Ref, mark: Mark): Promise<FolderChange> {
    const folder = this.#layout.generation(ref);
    const stamp = () => stampOf(this.#layout.generations(ref.projectId));
    const before = stamp();
    let after: string | null = null;
    const earlier = this.#tombstones.find(ref);
    try {
      const purgeAt = await this.#prepareTrash(ref, (earlier ?? mark).purge_at);
      const { purge_at: _, ...rest } = mark;
      await this.#tombstones.put(ref, { ...rest, ...(purgeAt && { purge_at: purgeAt }) });
      if (purgeAt !== undefined) {
        await this.#trash.put(ref, this.#pathsOf(ref));
        after = stamp();
      } else if (existsSync(folder)) {
        await this.#removeFolder(folder, () => {
          after = stamp();
        });
      }
      this.#active.dropIf(ref);
      // What the Python system left of it, also where it was migrated.
      if (mayBeFlat(ref)) await this.#removeFlat(ref.projectId);
      rmSync(this.#layout.oldArchive(ref), { force: true });
    } catch (error) {
      // Nothing is half done: what could not be taken away is there, and not deleted.
      if (earlier === null && existsSync(folder)) {
        await this.#tombstones.drop(ref, mark.deleted_at).catch(() => {});
      }
      throw fromFileSystem(error, `delete ${formatRef(ref)}`);
    }
    return { before, after: after ?? stamp() };
  }

  /**
   * Makes room in the trash, before anything is deleted.
   *
   * @returns until when it is kept; left out where it is not: on a full disk what is deleted makes room
   */
  async #prepareTrash(ref: Ref, purgeAt: string | undefined): Promise<string | undefined> {
    if (purgeAt === undefined || !this.#pathsOf(ref).some((path) => existsSync(path))) return;
    const active = this.#active.findRef(ref.projectId);
    const wasActive = active?.version === ref.version && active.generationId === ref.generationId;
    try {
      await this.#trash.prepare({ ref, digest: null, purgeAt, wasActive });
      return purgeAt;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      return;
    }
  }

  /**
   * Undoes a deletion whose files are in the trash: they are in place first, then the tombstone goes,
   * which is the commit. May be repeated.
   *
   * @returns whether they are in place: not where the trash was emptied meanwhile
   */
  async takeBack(ref: Ref, at: string): Promise<boolean> {
    const name = folderName(ref);
    const { projectId } = ref;
    const isBack = await this.#trash.takeBack(ref, (found) => {
      if (found === name) return this.#layout.generation(ref);
      if (found === `${name}.tar.gz`) return this.#layout.oldArchive(ref);
      return join(this.#layout.project(projectId), found);
    });
    if (!isBack && !existsSync(this.#layout.generation(ref))) return false;
    await this.#tombstones.drop(ref, at);
    return true;
  }

  /** Where it lies, with what the Python system left of it. */
  #pathsOf(ref: Ref): string[] {
    const { projectId } = ref;
    const flat = mayBeFlat(ref) ? [...listFlat(this.#layout, projectId)] : [];
    return [
      this.#layout.generation(ref),
      this.#layout.oldArchive(ref),
      ...flat.map((name) => join(this.#layout.project(projectId), name)),
    ];
  }

  async #removeFlat(projectId: string): Promise<void> {
    for (const name of [...listFlat(this.#layout, projectId)]) {
      await this.#removeFolder(join(this.#layout.project(projectId), name));
    }
  }

  /** Takes a folder away: at once for readers to come, where it can be renamed. */
  async #removeFolder(folder: string, away: () => void = () => {}): Promise<void> {
    const trash = this.#staging.path();
    try {
      renameSync(folder, trash);
      away();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      // Without a manifest, and an archive then, it is no generation.
      dropTree(folder);
      for (const name of listTars(folder)) await rm(join(folder, name), { force: true });
      await rm(inGeneration.archive(folder), { force: true });
      await rm(folder, { recursive: true, force: true });
    }
    await rm(trash, { recursive: true, force: true });
  }
}
