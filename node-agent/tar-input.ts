import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { createTarDecoder } from 'modern-tar';
import { StorageError } from './contract.ts';
import type { GenerationWriter } from './writer.ts';

/**
 * Writes the files of a tar, as it streams in. Its names are relative to the generation's source;
 * `./` before them, which `tar -C DIR .` writes, does not count.
 *
 * @throws StorageError `invalid_input` that names the entry, `too_large`, `corrupt`
 */
export async function writeTar(
  tar: AsyncIterable<Uint8Array>,
  writer: GenerationWriter,
): Promise<void> {
  const plain = await unzipped(tar);
  const entries = (Readable.toWeb(plain) as ReadableStream<Uint8Array>).pipeThrough(
    createTarDecoder({ strict: true }),
  );
  try {
    for await (const { header, body } of entries) {
      if (header.type === 'directory') {
        await body.cancel();
        continue;
      }
      if (header.type !== undefined && header.type !== 'file') {
        throw new StorageError(
          'invalid_input',
          `Cannot use path ${JSON.stringify(header.name)}: it is no file but a ${header.type}`,
        );
      }
      const path = header.name.replace(/^(\.\/)+/, '');
      await writer.write(path, body, header.mode === undefined ? {} : { mode: header.mode });
    }
  } catch (error) {
    if (error instanceof StorageError) throw error;
    throw new StorageError('corrupt', `Cannot read the tar: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The first two bytes tell a gzip. */
async function unzipped(tar: AsyncIterable<Uint8Array>): Promise<Readable> {
  const pieces = tar[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < 2) {
    const { done, value } = await pieces.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  async function* all() {
    if (head.length > 0) yield head;
    yield* { [Symbol.asyncIterator]: () => pieces };
  }
  const stream = Readable.from(all());
  return head[0] === 0x1f && head[1] === 0x8b ? stream.compose(createGunzip()) : stream;
}
