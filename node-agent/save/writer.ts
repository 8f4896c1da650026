import { type Limits, PathSet, StorageError } from '../contract.ts';
import type { Draft, Pieces } from '../store/draft.ts';
import { LeftOutCount, type LeftOutReason } from '../store/left-out.ts';
import type { Source } from '../store/source.ts';
import type { Receipt } from './receipt.ts';
import { type FileContent, parseFile } from './request.ts';

type Parts = Readonly<{
  draft: Draft;
  limits: Limits;
  commit(source: Source): Promise<Receipt>;
  drop(folder: string): Promise<void>;
}>;

/** Files that are taken at once: each holds some memory, and may hold an open file. */
const AT_ONCE = 8;

/** A generation whose files come one after another. It ends with `commit` or `abort`. */
export class GenerationWriter {
  readonly #parts: Parts;
  readonly #paths: PathSet;
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
   * @param options.size bytes of what comes in pieces, where they are known: a large one is written
   *   once then, else twice
   * @throws StorageError `invalid_input` that names the path, `too_large`, `disk_full`
   */
  async write(
    path: string,
    content: FileContent | AsyncIterable<Uint8Array>,
    options: { mode?: number; size?: number } = {},
  ): Promise<void> {
    this.#checkOpen();
    const pieces = isStream(content) ? content : null;
    const file = parseFile(path, pieces === null ? (content as FileContent) : new Uint8Array());
    this.#paths.add(path);
    const mode = options.mode ?? file.mode;
    const size = pieces === null ? file.content.length : (options.size ?? null);
    await this.#keep(async () => {
      // What it is said to have is refused before any of it is taken.
      this.#checkSize(path, size ?? 0, this.#bytes + (size ?? 0));
      const counted = this.#count(path, pieces ?? [file.content]);
      await this.#parts.draft.add(path, mode, counted, size);
    });
  }

  /**
   * Writes a file that is, byte for byte, another one that was written before.
   *
   * @throws StorageError as {@link write}; `invalid_input` where the other is not there
   */
  async copy(path: string, from: string): Promise<void> {
    this.#checkOpen();
    const { draft } = this.#parts;
    if (!draft.has(from)) {
      throw new StorageError(
        'invalid_input',
        `Cannot use path ${JSON.stringify(path)}: it is a link to ${JSON.stringify(from)}, which is no file before it`,
      );
    }
    this.#paths.add(path);
    await this.#keep(async () => {
      const size = draft.sizeOf(from);
      this.#bytes += size;
      this.#checkSize(path, size, this.#bytes);
      await draft.copy(path, from);
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

  async #keep(work: () => Promise<void>): Promise<void> {
    const writing = this.#inTurn(work);
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

  /** Waits while too many files are taken. */
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

  async *#count(path: string, pieces: Pieces): AsyncGenerator<Uint8Array, void> {
    let size = 0;
    for await (const piece of pieces) {
      size += piece.length;
      this.#bytes += piece.length;
      this.#checkSize(path, size, this.#bytes);
      yield piece;
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
    const { draft, commit, drop } = this.#parts;
    try {
      if (this.#failure !== null) throw this.#failure.error;
      return await commit(await draft.finish(this.#leftOut.all));
    } catch (error) {
      await drop(draft.folder);
      throw error;
    } finally {
      draft.close();
    }
  }

  /** Gives up: nothing of it is left. May be called again, and after `commit`. */
  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await Promise.allSettled(this.#writing);
    const { draft, drop } = this.#parts;
    draft.close();
    await drop(draft.folder);
  }

  #checkOpen(): void {
    if (!this.#ended) return;
    throw new StorageError('invalid_input', 'Cannot write: the writer is over');
  }

  #checkSize(path: string, size: number, total: number): void {
    const { fileBytes, totalBytes } = this.#parts.limits;
    if (size <= fileBytes && total <= totalBytes) return;
    throw new StorageError(
      'too_large',
      `Cannot take ${JSON.stringify(path)}: a file has at most ${fileBytes} bytes, a generation ${totalBytes}`,
    );
  }
}

function isStream(content: unknown): content is AsyncIterable<Uint8Array> {
  return content !== null && typeof content === 'object' && Symbol.asyncIterator in content;
}
