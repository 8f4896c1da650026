import { lstatSync, lutimesSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { folderName, formatRef, parseFolderName, type Ref, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { syncPath } from './durable.ts';
import type { Layout } from './layout.ts';
import type { Staging } from './staging.ts';

/** Which generation of a project is the active one: `generations/active` links to it. */
export class Active {
  readonly #layout: Layout;
  readonly #staging: Staging;

  constructor(layout: Layout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /**
   * Makes a generation the active one of its project. Readers of the link see the old or the new.
   *
   * @param at when that was said, in milliseconds
   */
  async set(ref: Ref, at: number): Promise<void> {
    const link = this.#layout.active(ref.projectId);
    const inTheWay = lstatSync(link, { throwIfNoEntry: false });
    if (inTheWay !== undefined && !inTheWay.isSymbolicLink()) {
      throw new StorageError(
        'conflict',
        `Cannot activate ${formatRef(ref)}: "${link}" is no link, move it away; it may hold files that are nowhere else`,
      );
    }
    const temporary = this.#staging.pathToPlace();
    try {
      symlinkSync(folderName(ref), temporary);
      lutimesSync(temporary, at / 1000, at / 1000);
      renameSync(temporary, link);
      await syncPath(this.#layout.generations(ref.projectId));
    } catch (error) {
      throw fromFileSystem(error, `activate ${formatRef(ref)}`);
    }
  }

  /** Says another time for what was said at one, where nothing else was said since. */
  restamp(projectId: string, from: number, to: number): void {
    if (this.saidAt(projectId) !== from) return;
    lutimesSync(this.#layout.active(projectId), to / 1000, to / 1000);
  }

  /** When it was said which generation is active, in milliseconds; `null` where none is. */
  saidAt(projectId: string): number | null {
    const link = lstatSync(this.#layout.active(projectId), { throwIfNoEntry: false });
    return link?.isSymbolicLink() === true ? Math.floor(link.mtimeMs) : null;
  }

  /** The active version of a project; `null` where none is. */
  find(projectId: string): number | null {
    return this.findRef(projectId)?.version ?? null;
  }

  /** As {@link find}, with the generation id. */
  findRef(projectId: string): Ref | null {
    try {
      const target = readlinkSync(this.#layout.active(projectId));
      const parsed = parseFolderName(basename(target));
      return parsed === null ? null : { projectId, ...parsed };
    } catch {
      return null;
    }
  }

  /** Has a project have no active generation, where it is this one. */
  dropIf(ref: Ref): void {
    const active = this.findRef(ref.projectId);
    if (active?.version === ref.version && active.generationId === ref.generationId) {
      rmSync(this.#layout.active(ref.projectId), { force: true });
    }
  }
}
