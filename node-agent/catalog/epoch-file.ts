import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { fromFileSystem } from '../disk/file-errors.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import { writeAll } from '../disk/write-all.ts';

/** What was counted last, beside the catalog. */
export type Mark = Readonly<{
  /** The catalog that counts. */
  catalog: string;
  /** Changes of what lies on disk, counted. */
  count: number;
  /** Which project the last one was about; empty: it may have been any. */
  project: string;
}>;

/** Longer than any mark, and written in one go. */
const MARK_BYTES = 512;

/** A file of one mark, which is overwritten. Whoever has the catalog's write lock has it. */
export class EpochFile {
  readonly #path: string;
  #fd: number | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * @returns `null` where there is no mark, or not a whole one
   * @throws StorageError `disk_full`, `forbidden`, `unavailable`
   */
  read(): Mark | null {
    const bytes = Buffer.alloc(MARK_BYTES);
    const size = this.#told('read', (fd) => readSync(fd, bytes, 0, MARK_BYTES, 0));
    try {
      const mark = JSON.parse(bytes.toString('utf8', 0, size)) as Mark;
      return Number.isSafeInteger(mark.count) ? mark : null;
    } catch {
      return null;
    }
  }

  /**
   * Not synced: what a power loss takes of it, it takes of the catalog too, or it is noticed.
   *
   * @throws StorageError `disk_full`, `forbidden`, `unavailable`
   */
  write(mark: Mark): void {
    const bytes = Buffer.from(JSON.stringify(mark).padEnd(MARK_BYTES));
    this.#told('write', (fd) => writeAll(fd, bytes, 0));
  }

  #told<T>(verb: string, work: (fd: number) => T): T {
    try {
      return work(this.#open());
    } catch (error) {
      throw fromFileSystem(error, `${verb} "${this.#path}"`);
    }
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  /** The file that is at its path now: somebody may have put back another. */
  #open(): number {
    if (this.#fd !== null) {
      const [open, there] = [fstatSync(this.#fd), statSync(this.#path, { throwIfNoEntry: false })];
      if (open.ino === there?.ino && open.dev === there.dev) return this.#fd;
      this.close();
    }
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    this.#fd = openSync(this.#path, flags, PRIVATE_FILE);
    return this.#fd;
  }
}
