import { readTar } from './archive/read-tar.ts';
import { StorageError } from './contract.ts';
import type { GenerationWriter } from './writer.ts';

/**
 * Writes the files of a tar, gzipped or not, as it streams in. Its names are relative to the
 * generation's source; `./` before them, which `tar -C DIR .` writes, does not count.
 *
 * @throws StorageError `invalid_input` that names the entry, `too_large`, `corrupt`
 */
export async function writeTar(
  tar: AsyncIterable<Uint8Array>,
  writer: GenerationWriter,
): Promise<void> {
  for await (const { header, body } of readTar(tar)) {
    const path = header.name.replace(/^(\.\/)+/, '');
    // What the decoder puts in the place of bytes that are none.
    if (path.includes('\ufffd')) {
      throw new StorageError(
        'invalid_input',
        `Cannot use path ${JSON.stringify(path)}: its name is not UTF-8`,
      );
    }
    await writer.write(path, body, header.mode === undefined ? {} : { mode: header.mode });
  }
}
