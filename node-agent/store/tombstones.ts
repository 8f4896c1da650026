import { existsSync, rmSync, statSync } from 'node:fs';
import { formatRef, type Ref } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { makeFolder, syncPath, writeFileDurably } from './durable.ts';
import type { Layout } from './layout.ts';
import { readText } from './read-text.ts';
import type { Staging } from './staging.ts';

/** The mark that something was deleted, or has another version now. */
export type Tombstone = Readonly<{
  project_id: string;
  version: number;
  generation_id: string;
  deleted_at: string;
  /** Of the content that was deleted: what another host saved under the name is not. */
  digests?: readonly string[];
  /** The version that it has now. */
  moved_to?: number;
}>;

/** The marks of what was deleted, or has another version now. */
export class Tombstones {
  readonly #layout: Layout;
  readonly #staging: Staging;

  constructor(layout: Layout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /**
   * When a generation was deleted; `null` where it was not. That its tombstone is there says all,
   * and when it was made its file knows too.
   */
  deletedAt(ref: Ref): string | null {
    const stat = statSync(this.#layout.tombstone(ref), { throwIfNoEntry: false });
    return stat?.mtime.toISOString() ?? null;
  }

  /** Which version a generation has that was moved; `null` where it was not. */
  movedTo(ref: Ref): number | null {
    return this.#read(ref)?.moved_to ?? null;
  }

  /** Of the content that was deleted under a ref, as far as that is known. */
  digestsOf(ref: Ref): readonly string[] {
    return this.#read(ref)?.digests ?? [];
  }

  #read(ref: Ref): Partial<Tombstone> | null {
    const text = readText(this.#layout, this.#layout.tombstone(ref));
    try {
      return text === null ? null : (JSON.parse(text) as Tombstone);
    } catch {
      // Emptied by a power loss: its being there says that it was deleted.
      return null;
    }
  }

  /** Takes a tombstone away: what the cloud has under this name is to be seen here. */
  async drop(ref: Ref): Promise<void> {
    try {
      if (!existsSync(this.#layout.tombstone(ref))) return;
      rmSync(this.#layout.tombstone(ref), { force: true });
      await syncPath(this.#layout.tombstones(ref.projectId));
    } catch (error) {
      throw fromFileSystem(error, `delete ${formatRef(ref)}`);
    }
  }

  /** Puts a tombstone up for good, where there is none: from then on the generation is deleted. */
  async put(ref: Ref, mark: Pick<Tombstone, 'deleted_at' | 'digests' | 'moved_to'>): Promise<void> {
    const file = this.#layout.tombstone(ref);
    if (existsSync(file)) return;
    const tombstone: Tombstone = {
      project_id: ref.projectId,
      version: ref.version,
      generation_id: ref.generationId,
      ...mark,
    };
    await makeFolder(this.#layout.tombstones(ref.projectId), this.#layout.project(ref.projectId));
    const text = `${JSON.stringify(tombstone, null, 2)}\n`;
    await writeFileDurably(file, text, this.#staging.pathToPlace());
  }
}
