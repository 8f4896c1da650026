import { existsSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatRef, type Ref } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { Active } from './active.ts';
import { dropTree } from './lay-out.ts';
import { inGeneration, type Layout, listTars } from './layout.ts';
import { listFlat, mayBeFlat } from './legacy/flat.ts';
import { type FolderChange, stampOf } from './project-stamp.ts';
import type { Staging } from './staging.ts';
import type { Tombstone, Tombstones } from './tombstones.ts';

/** Takes generations away from the disk. */
export class Removals {
  readonly #layout: Layout;
  readonly #staging: Staging;
  readonly #tombstones: Tombstones;
  readonly #active: Active;

  constructor(layout: Layout, staging: Staging, tombstones: Tombstones, active: Active) {
    this.#layout = layout;
    this.#staging = staging;
    this.#tombstones = tombstones;
    this.#active = active;
  }

  /**
   * Deletes a generation: first the tombstone, which is the commit, then the folder. May be
   * repeated, and finishes what an earlier call left.
   *
   * @param digests of the content that is deleted, where they are known
   */
  delete(ref: Ref, deletedAt: string, digests: readonly string[] = []): Promise<FolderChange> {
    return this.#takeAway(ref, { deleted_at: deletedAt, digests });
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

  async #takeAway(
    ref: Ref,
    mark: Pick<Tombstone, 'deleted_at' | 'digests' | 'moved_to'>,
  ): Promise<FolderChange> {
    const folder = this.#layout.generation(ref);
    const stamp = () => stampOf(this.#layout.generations(ref.projectId));
    const before = stamp();
    let after: string | null = null;
    const wasDeleted = this.#tombstones.deletedAt(ref) !== null;
    try {
      await this.#tombstones.put(ref, mark);
      if (existsSync(folder)) {
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
      if (!wasDeleted && existsSync(folder)) {
        await this.#tombstones.drop(ref, mark.deleted_at).catch(() => {});
      }
      throw fromFileSystem(error, `delete ${formatRef(ref)}`);
    }
    return { before, after: after ?? stamp() };
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
