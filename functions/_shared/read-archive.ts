import { type ArchiveName, ArchiveNames } from './contract/archive-names.ts';
import { StorageError } from './contract/errors.ts';
import { DEFAULT_LIMITS } from './contract/limits.ts';
import { readTarEntries } from './contract/tar.ts';
import { streamOf } from './stream.ts';

/** A file of an archive, in the order in which it comes. */
export type ArchivedFile = ArchiveName &
  Readonly<{
    /** Bytes. */
    size: number;
    mode: number;
    /** Its content, once: all of it, or none. */
    body: AsyncIterable<Uint8Array>;
  }>;

/** Beside the content: that of a generation with the most files stays below. */
const MANIFEST_BYTES = 16 * 1024 ** 2;

/**
 * Reads a tar.gz as it streams in, in constant memory. Nothing in it is trusted: every name
 * passes the validator, and what is no file ends it.
 *
 * @param max bytes of content and files in all, the manifest apart
 * @throws StorageError `corrupt`, with the entry where it is one, `too_large`; whatever the stream
 *   throws
 */
export async function* readArchive(
  stream: ReadableStream<Uint8Array>,
  max: Readonly<{ bytes: number; files: number }>,
): AsyncGenerator<ArchivedFile> {
  const names = new ArchiveNames({ ...DEFAULT_LIMITS, files: max.files });
  const source = watch(stream);
  const tar = source.stream.pipeThrough(
    new DecompressionStream('gzip') as TransformStream<Uint8Array, Uint8Array>,
  );
  async function* translated<T>(from: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* from;
    } catch (cause) {
      // What the network says is not the archive's fault.
      if (source.failure !== null) throw source.failure.error;
      if (cause instanceof StorageError) throw corrupt(cause);
      const message = 'Cannot read the archive: it is no whole tar.gz';
      throw new StorageError('corrupt', message, { cause });
    }
  }
  let bytes = 0;
  for await (const { header, body } of translated(readTarEntries(tar))) {
    if (header.type === 'folder') {
      names.passOver();
      continue;
    }
    if (header.type !== 'file') {
      const name = JSON.stringify(header.name);
      throw new StorageError(
        'corrupt',
        `Cannot unpack ${name}: it is no file but a ${header.type}`,
      );
    }
    const name = readName(names, header.name);
    if (name === null) continue;
    if (name.folder !== null) bytes += header.size;
    if (bytes > max.bytes || (name.folder === null && header.size > MANIFEST_BYTES)) {
      const message = `Cannot read the archive: it holds over ${max.bytes} bytes`;
      throw new StorageError('too_large', message);
    }
    yield { ...name, size: header.size, mode: header.mode | 0o600, body: translated(body) };
  }
}

function readName(names: ArchiveNames, name: string): ArchiveName | null {
  try {
    return names.read(name);
  } catch (error) {
    throw error instanceof StorageError ? corrupt(error) : error;
  }
}

/** What nobody may have is a fault of the archive, not of who asks for it. */
function corrupt(error: StorageError): StorageError {
  return error.code === 'invalid_input'
    ? new StorageError('corrupt', error.message, { cause: error })
    : error;
}

/** Passes a stream on, and keeps what it threw. */
function watch(stream: ReadableStream<Uint8Array>) {
  const watched = { failure: null as { error: unknown } | null, stream };
  async function* pieces() {
    try {
      yield* stream;
    } catch (error) {
      watched.failure = { error };
      throw error;
    }
  }
  watched.stream = streamOf(pieces());
  return watched;
}
