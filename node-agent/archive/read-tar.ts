import { createReadStream, readFileSync, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, gunzipSync } from 'node:zlib';
import { readTarEntries, StorageError, type TarEntry } from '../contract.ts';
import { listPlainTar } from './plain-tar.ts';

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
 * Reads the entries of a tar, gzipped or not, as it streams in.
 *
 * @throws StorageError `corrupt` where it is no whole tar, `invalid_input` that names an entry
 *   which cannot be kept; whatever the input throws
 */
export async function* readTar(input: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry, void> {
  const source = watch(input);
  const { plain, isZipped } = await unzipped(source.pieces);
  const entries = readTarEntries(plain);
  if (isZipped) yield* ofGzip(entries, source.failure);
  else yield* entries;
}

/**
 * What gunzip says is the tar's fault; what the network or the disk says is not. The memory of its
 * pieces is given back at once: the garbage collector lets 64 MB of it pile up.
 */
async function* ofGzip(
  entries: AsyncIterable<TarEntry>,
  failure: () => { error: unknown } | null,
): AsyncGenerator<TarEntry, void> {
  const translate = (error: unknown) => {
    if (failure() !== null) return failure()!.error;
    if (error instanceof StorageError) return error;
    const message = `Cannot read the tar: ${(error as Error).message}`;
    return new StorageError('corrupt', message, { cause: error });
  };
  let memory: ArrayBuffer | null = null;
  async function* contentOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const piece of body) {
        if (piece.buffer !== memory) {
          memory?.transfer(0);
          memory = piece.buffer as ArrayBuffer;
        }
        yield piece;
      }
    } catch (error) {
      throw translate(error);
    }
  }
  try {
    for await (const { header, body } of entries) yield { header, body: contentOf(body) };
  } catch (error) {
    throw translate(error);
  }
}

/**
 * Reads the entries of an archive on disk, as {@link readTar} does. A small one that we made is read
 * in one go, with nothing to wait for: that takes half of the time.
 */
export function readArchive(
  path: string,
): AsyncIterable<TarEntry> | Iterable<TarEntry<Iterable<Uint8Array>>> {
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
  return { pieces: pieces(), failure: () => failure };
}

/** The first two bytes tell a gzip. */
async function unzipped(
  input: AsyncIterable<Uint8Array>,
): Promise<{ plain: AsyncIterable<Uint8Array>; isZipped: boolean }> {
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
  if (head[0] !== 0x1f || head[1] !== 0x8b) return { plain: all(), isZipped: false };
  const stream = Readable.from(all(), { objectMode: false });
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  // Whoever reads `gunzip` is told of every error.
  pipeline(stream, gunzip).catch(() => {});
  return { plain: gunzip, isZipped: true };
}
