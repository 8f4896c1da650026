import { createReadStream, readFileSync, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream } from 'node:stream/web';
import { createGunzip, gunzipSync } from 'node:zlib';
import { createTarDecoder, type TarHeader } from 'modern-tar';
import { StorageError } from '../contract.ts';
import { listPlainTar } from './plain-tar.ts';

/** A file in a tar. */
export type TarFile<Body = AsyncIterable<Uint8Array>> = Readonly<{
  header: Pick<TarHeader, 'name' | 'size' | 'mode'>;
  /** Its content, once: all of it, or none. A piece is good until the next one is asked for. */
  body: Body;
}>;

/**
 * Bytes that gunzip hands out at once. With its default of 16 KiB most of the time goes into the
 * way to libuv's threads and back.
 */
const PIECE_BYTES = 64 * 1024;

/** What is read in one go lies in memory as a whole: so many bytes at most. */
const SMALL_ARCHIVE_BYTES = 4 * 1024 * 1024;
const SMALL_TAR_BYTES = 16 * 1024 * 1024;
const SMALL_CHUNK_BYTES = 1024 * 1024;

/**
 * Reads the files of a tar, gzipped or not, as it streams in. Folders are passed over: they follow
 * from the files.
 *
 * @throws StorageError `corrupt` where it is no whole tar, `invalid_input` that names an entry
 *   which is no file; whatever the input throws
 */
export async function* readTar(input: AsyncIterable<Uint8Array>): AsyncIterable<TarFile> {
  const source = watch(input);
  const { plain, isZipped } = await unzipped(source.pieces);
  // One piece at a time: Readable.toWeb would read far ahead.
  const pieces = ReadableStream.from<Uint8Array>(plain) as globalThis.ReadableStream<Uint8Array>;
  const entries = pieces.pipeThrough(createTarDecoder({ strict: true }));
  async function* translated<T>(from: AsyncIterable<T>): AsyncIterable<T> {
    try {
      yield* from;
    } catch (error) {
      // What the network or the disk says is not the tar's fault.
      if (source.hasFailed()) throw source.error();
      throw new StorageError('corrupt', `Cannot read the tar: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  let memory: ArrayBuffer | null = null;
  async function* contentOf(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const piece of translated(body)) {
      if (isZipped && piece.buffer !== memory) {
        // Given back at once: the garbage collector lets 64 MB of such memory pile up.
        memory?.transfer(0);
        memory = piece.buffer as ArrayBuffer;
      }
      yield piece;
    }
  }
  for await (const { header, body } of translated(entries)) {
    const { type, name } = header;
    if (type !== undefined && type !== 'file' && type !== 'directory') {
      throw new StorageError(
        'invalid_input',
        `Cannot use path ${JSON.stringify(name)}: it is no file but a ${type}`,
      );
    }
    if (type === 'directory') continue;
    yield { header, body: contentOf(body) };
    // Read to its end, not cancelled: modern-tar would take the next file's content with it.
    if (!body.locked) for await (const _ of translated(body));
  }
}

/**
 * Reads the files of an archive on disk, as {@link readTar} does. A small one that we made is read in
 * one go, with nothing to wait for: that takes half of the time.
 */
export function readArchive(
  path: string,
): AsyncIterable<TarFile> | Iterable<TarFile<Iterable<Uint8Array>>> {
  const isSmall = statSync(path).size <= SMALL_ARCHIVE_BYTES;
  const tar = isSmall ? gunzipSmall(readFileSync(path)) : null;
  return (tar && listPlainTar(tar)) ?? readTar(createReadStream(path));
}

/** `null` where that is no small tar: what else is the matter is told by whoever streams it. */
function gunzipSmall(archive: Buffer): Buffer | null {
  try {
    return gunzipSync(archive, { maxOutputLength: SMALL_TAR_BYTES, chunkSize: SMALL_CHUNK_BYTES });
  } catch {
    return null;
  }
}

/** Passes the input on, and knows whether it was that which failed. */
function watch(input: AsyncIterable<Uint8Array>) {
  let failure: { error: unknown } | null = null;
  async function* pieces() {
    try {
      yield* input;
    } catch (error) {
      failure = { error };
      throw error;
    }
  }
  return {
    pieces: pieces(),
    hasFailed: () => failure !== null,
    error: () => (failure as { error: unknown } | null)?.error,
  };
}

/** The first two bytes tell a gzip. */
async function unzipped(
  input: AsyncIterable<Uint8Array>,
): Promise<{ plain: Readable; isZipped: boolean }> {
  const pieces = input[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < 2) {
    const { done, value } = await pieces.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  async function* all() {
    try {
      if (head.length > 0) yield head;
      yield* { [Symbol.asyncIterator]: () => pieces };
    } finally {
      await pieces.return?.();
    }
  }
  const stream = Readable.from(all(), { objectMode: false });
  if (head[0] !== 0x1f || head[1] !== 0x8b) return { plain: stream, isZipped: false };
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  // Whoever reads `gunzip` is told of every error.
  pipeline(stream, gunzip).catch(() => {});
  return { plain: gunzip, isZipped: true };
}
