import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, statSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PRIVATE_FILE, PRIVATE_FOLDER } from './private.ts';
import { roomAt } from './room.ts';

/** Bytes that are kept at most: a catalog's log, and one archive that is being made. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Files that are kept at most, for the inodes that they have: those may run out first. */
const MAX_FILES = 32;
/** The part of a file system that is kept at most. */
const MAX_SHARE = 1 / 20;
/** Room is taken only where so many times as much is left. */
const PLENTY = 4;
/** Not alike, so that no file system makes less of it. */
const BLOCK_BYTES = 64 * 1024;

/**
 * Some room on a file system, bytes and inodes, that is given back where it is full: what makes
 * room, as uploads and clean-ups do, can be noted then.
 */
export class Reserve {
  readonly #path: string;

  /** @param path of the folder that takes the room */
  constructor(path: string) {
    this.#path = path;
  }

  /** Gives the room back. @returns whether there was any */
  release(): boolean {
    const isThere = statSync(this.#path, { throwIfNoEntry: false }) !== undefined;
    rmSync(this.#path, { recursive: true, force: true });
    return isThere;
  }

  /**
   * Takes the room, where it is not taken and there is plenty.
   *
   * @param temporary a path on the same file system
   */
  async restore(temporary: string): Promise<void> {
    if (existsSync(this.#path)) return;
    const { bytes, files, freeBytes, freeInodes } = this.#measure();
    if (freeBytes < bytes * PLENTY || freeInodes < files * PLENTY) return;
    try {
      await mkdir(temporary, PRIVATE_FOLDER);
      for (let i = 0; i < files; i++) {
        const content = i === 0 ? blocks(bytes) : '';
        await writeFile(join(temporary, String(i)), content, { flag: 'wx', mode: PRIVATE_FILE });
      }
      await rename(temporary, this.#path);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      // Another process was quicker.
      if (!existsSync(this.#path)) throw error;
    }
  }

  /**
   * Whether what is left is the room that is kept, or was: it is not for more of what filled the disk. One
   * process gives it back for all.
   */
  isNeeded(): boolean {
    if (existsSync(this.#path)) return false;
    const { bytes, files, freeBytes, freeInodes } = this.#measure();
    return freeBytes < bytes || freeInodes < files;
  }

  /** What is left, and how much of it is kept. */
  #measure() {
    const { bytes, inodes, freeBytes, freeInodes } = roomAt(dirname(this.#path));
    return {
      ...{ freeBytes, freeInodes },
      bytes: Math.floor(Math.min(MAX_BYTES, bytes * MAX_SHARE)),
      files: Math.floor(Math.min(MAX_FILES, inodes * MAX_SHARE)),
    };
  }
}

/** So many bytes, of which few are in memory. */
function* blocks(bytes: number): Generator<Buffer> {
  const block = randomBytes(BLOCK_BYTES);
  for (let left = bytes; left > 0; left -= BLOCK_BYTES) yield block.subarray(0, left);
}
