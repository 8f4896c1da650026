import { constants, copyFile, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Limits, PathSet, StorageError } from '../contract.ts';
import { PRIVATE_FOLDER, privateMode } from '../disk/private.ts';
import { fromFileSystem } from '../store/file-errors.ts';
import { inGeneration } from '../store/layout.ts';
import { LeftOutCount, type LeftOutReason } from '../store/left-out.ts';
import type { NamedFile, Source } from '../store/source.ts';
import type { Receipt } from './receipt.ts';
import { type FileContent, parseFile } from './request.ts';

type Parts = Readonly<{
  /** A staging folder with an empty `source/`. */
  folder: string;
  limits: Limits;
  commit(source: Source): Promise<Receipt>;
  drop(folder: string): Promise<void>;
}>;

/** Files that are open at once: a process may have a thousand, and others want theirs. */
const AT_ONCE = 8;

/** A generation whose files come one after another. It ends with `commit` or `abort`. */
export class GenerationWriter {
  readonly #parts: Parts;
  readonly #paths: PathSet;
  /** What was written: that is what is saved, whatever else lies in the folder. */
  readonly #files = new Map<string, NamedFile>();
  readonly #leftOut = new LeftOutCount();
  readonly #writing = new Set<Promise<void>>();
  #open = 0;
  readonly #waiting: (() => void)[] = [];
  #bytes = 0;
  #ended = false;
  /** Of a write that broke off: what it left is no file that anybody wanted. */
  #failure: { error: unknown } | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#paths = new PathSet(parts.limits);
  }

  /**
   * Writes one file. Several may be written at once.
   *
   * @param content whole, or in pieces as they come
   * @throws StorageError `invalid_input` that names the path, `too_large`, `disk_full`
   */
  async write(
    path: string,
    content: FileContent | AsyncIterable<Uint8Array>,
    options: { mode?: number } = {},
  ): Promise<void> {
    this.#checkOpen();
    const pieces = isStream(content) ? content : null;
    const file = parseFile(path, pieces === null ? (content as FileContent) : new Uint8Array());
    this.#paths.add(path);
    const mode = options.mode ?? file.mode;
    await this.#keep({ path, mode }, () => this.#write(path, pieces ?? [file.content], mode));
  }

  /**
   * Writes a file that is, byte for byte, another one that was written before.
   *
   * @throws StorageError as {@link write}; `invalid_input` where the other is not there
   */
  async copy(path: string, from: string): Promise<void> {
    this.#checkOpen();
    const original = this.#files.get(from);
    if (original === undefined) {
      throw new StorageError(
        'invalid_input',
        `Cannot use path ${JSON.stringify(path)}: it is a link to ${JSON.stringify(from)}, which is no file before it`,
      );
    }
    this.#paths.add(path);
    await this.#keep({ ...original, path }, async () => {
      const [source, place] = [this.#placeOf(from), this.#placeOf(path)];
      try {
        const { size } = await stat(source);
        this.#bytes += size;
        this.#checkSize(path, size);
        await mkdir(dirname(place), { recursive: true, mode: PRIVATE_FOLDER });
        await copyFile(source, place, constants.COPYFILE_EXCL);
      } catch (error) {
        throw fromFileSystem(error, `write ${JSON.stringify(path)}`);
      }
    });
  }

  /**
   * Counts something that is no part of the generation, and has its path.
   *
   * @throws StorageError `invalid_input` that names the path, `too_large`
   */
  leaveOut(path: string, reason: LeftOutReason): void {
    if (reason === 'reserved') this.#paths.passOver();
    else this.#paths.add(path);
    this.#leftOut.add(path, reason);
  }

  /** Counts a folder, which follows from its files. @throws StorageError `too_large` */
  passOver(): void {
    this.#paths.passOver();
  }

  async #keep(file: NamedFile, work: () => Promise<void>): Promise<void> {
    const writing = this.#inTurn(work);
    this.#writing.add(writing);
    try {
      await writing;
      this.#files.set(file.path, file);
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    } finally {
      this.#writing.delete(writing);
    }
  }

  /** Waits while too many files are open. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#open >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#open++;
    try {
      await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#open--;
      else next();
    }
  }

  async #write(
    path: string,
    pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    mode: number,
  ): Promise<void> {
    const place = this.#placeOf(path);
    try {
      await mkdir(dirname(place), { recursive: true, mode: PRIVATE_FOLDER });
      const handle = await open(place, 'wx', privateMode(mode));
      try {
        let size = 0;
        for await (const piece of pieces) {
          size += piece.length;
          this.#bytes += piece.length;
          this.#checkSize(path, size);
          await handle.writeFile(piece);
        }
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw fromFileSystem(error, `write ${JSON.stringify(path)}`);
    }
  }

  #placeOf(path: string): string {
    return join(inGeneration.source(this.#parts.folder), path);
  }

  /**
   * Saves what was written, as {@link Storage.save} does; nothing where a write broke off. After
   * an error the writer is over.
   *
   * @throws StorageError as `save`
   */
  async commit(): Promise<Receipt> {
    this.#checkOpen();
    this.#ended = true;
    await Promise.allSettled(this.#writing);
    const { folder } = this.#parts;
    try {
      if (this.#failure !== null) throw this.#failure.error;
      const files = [...this.#files.values()];
      const leftOut = this.#leftOut.all;
      return await this.#parts.commit({ kind: 'staged', folder, files, leftOut });
    } catch (error) {
      await this.#parts.drop(folder);
      throw error;
    }
  }

  /** Gives up: nothing of it is left. May be called again, and after `commit`. */
  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await Promise.allSettled(this.#writing);
    await this.#parts.drop(this.#parts.folder);
  }

  #checkOpen(): void {
    if (!this.#ended) return;
    throw new StorageError('invalid_input', 'Cannot write: the writer is over');
  }

  #checkSize(path: string, size: number): void {
    const { fileBytes, totalBytes } = this.#parts.limits;
    if (size <= fileBytes && this.#bytes <= totalBytes) return;
    throw new StorageError(
      'too_large',
      `Cannot take ${JSON.stringify(path)}: a file has at most ${fileBytes} bytes, a generation ${totalBytes}`,
    );
  }
}

function isStream(content: unknown): content is AsyncIterable<Uint8Array> {
  return content !== null && typeof content === 'object' && Symbol.asyncIterator in content;
}
