import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { isMissing, listFolder } from '../disk/list-folder.ts';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import { Spool } from '../disk/spool.ts';
import type { Layout } from './layout.ts';

/** Where what is not in place yet lies: a folder for each process. */
export class Staging {
  readonly #layout: Layout;
  readonly #folder: string;

  /** @param instanceId names the folder that is this process's own */
  constructor(layout: Layout, instanceId: string) {
    this.#layout = layout;
    this.#folder = join(layout.staging, instanceId);
  }

  /** A path of this process that is free, on the file system of the store. */
  path(): string {
    this.#make();
    return join(this.#folder, randomUUID());
  }

  /**
   * The same, for what is to be put into the store from there.
   *
   * @throws StorageError `unavailable` where nothing can be written to the store
   */
  pathToPlace(): string {
    if (this.#layout.isApart) {
      const what = `Cannot put anything into the store "${this.#layout.root}"`;
      throw new StorageError('unavailable', `${what}: nothing can be written there now`);
    }
    return this.path();
  }

  /** A file without a name, on the file system of the store. */
  spool(): Spool {
    try {
      return new Spool(this.path());
    } catch (error) {
      throw fromFileSystem(error, 'save a generation');
    }
  }

  /** Also again: whoever takes this process for gone sweeps its folder. Where the store is gone nothing is made. */
  #make(): void {
    if (existsSync(this.#folder) || !existsSync(this.#layout.staging)) return;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: PRIVATE_FOLDER });
    } catch (error) {
      throw fromFileSystem(error, `make "${this.#folder}"`);
    }
  }

  async drop(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /**
   * Removes what instances that are gone left. One that is not gone after all finds nothing at its
   * paths then: never a folder that is being emptied, which it would put in place.
   */
  async sweep(isGone: (instanceId: string) => boolean): Promise<void> {
    for (const instanceId of listFolder(this.#layout.staging)) {
      if (!isGone(instanceId)) continue;
      const swept = this.#takeAway(join(this.#layout.staging, instanceId));
      await rm(swept, { recursive: true, force: true });
    }
  }

  #takeAway(folder: string): string {
    const swept = join(this.#layout.staging, randomUUID());
    try {
      renameSync(folder, swept);
      return swept;
    } catch (error) {
      // Of the lower layer of an overlay it cannot be renamed; nor where another process swept it.
      if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EXDEV') return folder;
      throw error;
    }
  }

  /** What cannot be removed now the next start sweeps. */
  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true }).catch(() => {});
  }
}
