import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { listFolder } from '../disk/list-folder.ts';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import { fromFileSystem } from './file-errors.ts';
import { inGeneration, type Layout } from './layout.ts';

/** Where what is not in place yet lies: a folder for each process. */
export class Staging {
  readonly #layout: Layout;
  readonly #folder: string;

  /** @param instanceId names the folder that is this process's own */
  constructor(layout: Layout, instanceId: string) {
    this.#layout = layout;
    this.#folder = join(layout.staging, instanceId);
    mkdirSync(this.#folder, { recursive: true, mode: PRIVATE_FOLDER });
  }

  /** A path of this process that is free, on the file system of the store. */
  path(): string {
    return join(this.#folder, randomUUID());
  }

  /** A folder with an empty `source/`, for files that come one by one. */
  open(): string {
    const folder = this.path();
    try {
      mkdirSync(inGeneration.source(folder), { recursive: true, mode: PRIVATE_FOLDER });
    } catch (error) {
      throw fromFileSystem(error, 'save a generation');
    }
    return folder;
  }

  async drop(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /** Removes what instances that are gone left. */
  async sweep(isGone: (instanceId: string) => boolean): Promise<void> {
    for (const instanceId of listFolder(this.#layout.staging)) {
      if (!isGone(instanceId)) continue;
      await rm(join(this.#layout.staging, instanceId), { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
