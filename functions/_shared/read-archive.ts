import { createTarDecoder } from 'modern-tar';
import { type ArchiveName, ArchiveNames } from './contract/archive-names.ts';
import { StorageError } from './contract/errors.ts';
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

/**
 * Reads a tar.gz as it streams in, in constant memory. Nothing in it is trusted: every name
 * passes the validator, and what is no file ends it.
 *
 * @param maxBytes of content in all
 * @throws StorageError `corrupt`, `invalid_input` that names the entry, `too_large`; whatever the
 *   stream throws
 */
export async function* readArchive(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<ArchivedFile> {
  const names = new ArchiveNames();
  const source = watch(stream);
  const entries = source.stream
    .pipeThrough(new DecompressionStream('gzip') as TransformStream<Uint8Array, Uint8Array>)
    .pipeThrough(createTarDecoder({ strict: true }));
  async function* translated<T>(from: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* from;
    } catch (cause) {
      // What the network says is not the archive's fault.
      if (source.failure !== null) throw source.failure.error;
      const message = 'Cannot read the archive: it is no whole tar.gz';
      throw new StorageError('corrupt', message, { cause });
    }
  }
  let bytes = 0;
  for await (const { header, body } of translated(entries)) {
    if (header.type === 'directory') continue;
    if (header.type !== undefined && header.type !== 'file') {
      const name = JSON.stringify(header.name);
      throw new StorageError(
        'corrupt',
        `Cannot unpack ${name}: it is no file but a ${header.type}`,
      );
    }
    const name = names.read(header.name);
    bytes += header.size;
    if (bytes > maxBytes) {
      const message = `Cannot read the archive: it holds over ${maxBytes} bytes`;
      throw new StorageError('too_large', message);
    }
    const mode = ((header.mode ?? 0o644) & 0o777) | 0o600;
    yield { ...name, size: header.size, mode, body: translated(body) };
    // Read to its end, not cancelled: modern-tar would take the next file's content with it.
    if (!body.locked) for await (const _ of translated(body));
  }
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
