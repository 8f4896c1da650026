import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Limits, PathSet, StorageError } from './contract.ts';
import { type FileContent, parseFile } from './save-input.ts';
import { fromFileSystem } from './store/durable.ts';
import { inGeneration } from './store/layout.ts';
import type { Receipt } from './types.ts';

type Parts = Readonly<{
  /** A staging folder with an empty `source/`. */
  folder: string;
  limits: Limits;
  commit(folder: string): Promise<Receipt>;
  drop(folder: string): Promise<void>;
}>;

/** A generation whose files come one after another. It ends with `commit` or `abort`. */
export class GenerationWriter {
  readonly #parts: Parts;
  readonly #paths: PathSet;
  readonly #writing = new Set<Promise<void>>();
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
    const mode = ((options.mode ?? file.mode) & 0o777) | 0o600;
    const writing = this.#write(path, pieces ?? [file.content], mode);
    this.#writing.add(writing);
    try {
      await writing;
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    } finally {
      this.#writing.delete(writing);
    }
  }

  async #write(
    path: string,
    pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    mode: number,
  ): Promise<void> {
    const place = join(inGeneration.source(this.#parts.folder), path);
    try {
      await mkdir(dirname(place), { recursive: true });
      const handle = await open(place, 'wx', mode);
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
    try {
      if (this.#failure !== null) throw this.#failure.error;
      return await this.#parts.commit(this.#parts.folder);
    } catch (error) {
      await this.#parts.drop(this.#parts.folder);
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
