import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, read, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tarHeader, tarPadding } from '../archive/tar.ts';
import { entryNameOf, type ManifestEntry, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { keptMode, PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { RunWriter } from '../disk/run-writer.ts';
import { Spool } from '../disk/spool.ts';
import { inGeneration } from './layout.ts';
import type { LeftOut } from './left-out.ts';
import type { DraftSource } from './source.ts';

/** What is gathered at the end of the tar before it is written. */
const TAIL_BYTES = 256 * 1024;
/** The same for a file that is larger than this; a smaller one is held until it is whole. */
const FILE_BYTES = 64 * 1024;

const readInto = promisify(read);

/** Each is good until the next is asked for. */
export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * A generation whose files arrive one after another: they go into one tar, by one descriptor, and what
 * is counted and hashed is what was written there. No file is looked up by its name again.
 */
export class Draft {
  readonly folder: string;
  readonly #fd: number;
  /** What is in it, and where the content begins. */
  readonly #files = new Map<string, Readonly<{ entry: ManifestEntry; begin: number }>>();
  #tail: RunWriter | null = null;
  /** What is added takes its turn at the end of the tar. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param folder a staging folder, to make */
  constructor(folder: string) {
    this.folder = folder;
    try {
      mkdirSync(folder, PRIVATE_FOLDER);
      this.#fd = openSync(inGeneration.stagedTar(folder), 'wx+', PRIVATE_FILE);
    } catch (error) {
      // It is empty, or not there.
      rmSync(folder, { recursive: true, force: true });
      throw fromFileSystem(error, 'save a generation');
    }
  }

  has(path: string): boolean {
    return this.#files.has(path);
  }

  /** Bytes of a file that is in it. */
  sizeOf(path: string): number {
    return this.#files.get(path)!.entry.size;
  }

  /**
   * Adds a file. Several may be added at once, in any order.
   *
   * @param size bytes that come; `null` where nobody knows
   * @throws StorageError `invalid_input` where it is another size, `disk_full`; what the pieces throw
   */
  add(path: string, mode: number, pieces: Pieces, size: number | null): Promise<void> {
    const file = { path, mode: keptMode(mode) };
    return writing(path, () =>
      size === null ? this.#addUnsized(file, pieces) : this.#addSized(file, pieces, size),
    );
  }

  /** Adds a file that is, byte for byte, one that is in it. */
  copy(path: string, from: string): Promise<void> {
    const { entry, begin } = this.#files.get(from)!;
    const { mode, size } = entry;
    return writing(path, async () => {
      // What is to be read has to be written.
      await this.#inTurn((tail) => tail.flush());
      await this.#addSized({ path, mode }, readRun(this.#fd, begin, size), size);
    });
  }

  /** What it came to, to be saved, once nothing is being added. It is good until it is closed. */
  finish(leftOut: LeftOut): Promise<DraftSource> {
    return writing(this.folder, () =>
      this.#inTurn(async (tail) => {
        await tail.flush();
        const entries = [...this.#files.values()].map(({ entry }) => entry);
        const { folder } = this;
        return { kind: 'draft', folder, fd: this.#fd, end: tail.position, entries, leftOut };
      }),
    );
  }

  /** Once nothing is being added. What was saved of it stays. */
  close(): void {
    this.#tail?.close();
    closeSync(this.#fd);
  }

  async #addSized(file: Named, pieces: Pieces, size: number): Promise<void> {
    if (size > FILE_BYTES) return this.#addLarge(file, pieces, size);
    const held = Buffer.alloc(size);
    let filled = 0;
    for await (const piece of pieces) {
      if (filled + piece.length > size) throw otherSize(file.path, size);
      held.set(piece, filled);
      filled += piece.length;
    }
    if (filled !== size) throw otherSize(file.path, size);
    await this.#inTurn(async (tail) => {
      await tail.push(headerOf(file, size));
      const begin = tail.position;
      const hash = createHash('sha256');
      await tail.push(held, (part) => hash.update(part));
      await tail.push(tarPadding(size));
      this.#note(file, size, hash.digest('hex'), begin);
    });
  }

  /** Room is left for it, so that others are added while it comes. */
  async #addLarge(file: Named, pieces: Pieces, size: number): Promise<void> {
    const begin = await this.#inTurn(async (tail) => {
      await tail.push(headerOf(file, size));
      return tail.skip(size + tarPadding(size).length);
    });
    const run = new RunWriter(this.#fd, begin, FILE_BYTES);
    const hash = createHash('sha256');
    try {
      for await (const piece of pieces) {
        if (run.position + piece.length > begin + size) throw otherSize(file.path, size);
        await run.push(piece, (part) => hash.update(part));
      }
      if (run.position !== begin + size) throw otherSize(file.path, size);
      await run.flush();
    } finally {
      run.close();
    }
    this.#note(file, size, hash.digest('hex'), begin);
  }

  /** Its header says how large it is, and comes before it: a large one waits in a file of its own. */
  async #addUnsized(file: Named, pieces: Pieces): Promise<void> {
    const held: Buffer[] = [];
    let size = 0;
    let spool: Spool | null = null;
    try {
      for await (const piece of pieces) {
        size += piece.length;
        if (size <= FILE_BYTES) {
          held.push(Buffer.from(piece));
          continue;
        }
        spool ??= new Spool(join(this.folder, 'spool'));
        for (const part of [...held.splice(0), piece]) await spool.run.push(part);
      }
      await spool?.run.flush();
      await this.#addSized(file, spool === null ? held : readRun(spool.fd, 0, size), size);
    } finally {
      spool?.close();
    }
  }

  #note({ path, mode }: Named, size: number, sha256: string, begin: number): void {
    this.#files.set(path, { entry: { path, size, sha256, mode }, begin });
  }

  #inTurn<T>(work: (tail: RunWriter) => Promise<T>): Promise<T> {
    const done = this.#turn.then(() => {
      this.#tail ??= new RunWriter(this.#fd, 0, TAIL_BYTES);
      return work(this.#tail);
    });
    this.#turn = done.catch(() => {});
    return done;
  }
}

type Named = Readonly<{ path: string; mode: number }>;

function headerOf({ path, mode }: Named, size: number): Buffer {
  return tarHeader({ path: entryNameOf({ folder: 'source', path }), size, mode });
}

async function* readRun(fd: number, begin: number, size: number): AsyncGenerator<Buffer, void> {
  const buffer = Buffer.alloc(Math.min(FILE_BYTES, size));
  for (let done = 0; done < size; ) {
    const most = Math.min(buffer.length, size - done);
    const { bytesRead } = await readInto(fd, buffer, 0, most, begin + done);
    if (bytesRead === 0) return;
    done += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

function otherSize(path: string, size: number): StorageError {
  return new StorageError(
    'invalid_input',
    `Cannot take ${JSON.stringify(path)}: it has more or less than the ${size} bytes that it was said to have`,
  );
}

async function writing<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fromFileSystem(error, `write ${JSON.stringify(what)}`);
  }
}
