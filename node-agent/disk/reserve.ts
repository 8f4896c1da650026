import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, statfsSync, statSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PRIVATE_FILE } from './private.ts';

/** Bytes that are kept at most: a catalog's log, and one archive that is being made. */
const MAX_BYTES = 4 * 1024 * 1024;
/** The part of a file system that is kept at most. */
const MAX_SHARE = 1 / 20;
/** Room is taken only where so many times as much is left. */
const PLENTY = 4;
/** Not alike, so that no file system makes less of it. */
const BLOCK_BYTES = 64 * 1024;

/**
 * Some room on a file system that is given back where it is full: what makes room, as uploads and
 * clean-ups do, can be noted then.
 */
export class Reserve {
  readonly #path: string;

  /** @param path of the file that takes the room */
  constructor(path: string) {
    this.#path = path;
  }

  /** Gives the room back. @returns whether there was any */
  release(): boolean {
    const isThere = statSync(this.#path, { throwIfNoEntry: false }) !== undefined;
    rmSync(this.#path, { force: true });
    return isThere;
  }

  /**
   * Takes the room, where it is not taken and there is plenty.
   *
   * @param temporary a path on the same file system
   */
  async restore(temporary: string): Promise<void> {
    if (existsSync(this.#path)) return;
    const { bytes, free } = this.#measure();
    if (free < bytes * PLENTY) return;
    try {
      const content = Buffer.alloc(bytes, randomBytes(BLOCK_BYTES));
      await writeFile(temporary, content, { flag: 'wx', mode: PRIVATE_FILE });
      await rename(temporary, this.#path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /**
   * Whether what is left is the room that is kept, or was: it is not for more of what filled the disk. One
   * process gives it back for all.
   */
  isNeeded(): boolean {
    if (existsSync(this.#path)) return false;
    const { bytes, free } = this.#measure();
    return free < bytes;
  }

  #measure(): { bytes: number; free: number } {
    const { bavail, blocks, bsize } = statfsSync(dirname(this.#path));
    const bytes = Math.floor(Math.min(MAX_BYTES, blocks * bsize * MAX_SHARE));
    return { bytes, free: bavail * bsize };
  }
}
