import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { CompleteManifest, Folder, ManifestEntry } from '../contract.ts';
import { damaged, entriesOf } from './own-manifest.ts';
import {
  findFile,
  HEADERS_BYTES,
  listFiles,
  manifestOf,
  placeOfManifest,
  type TarFiles,
} from './stored-tar.ts';

const READ_BYTES = 256 * 1024;

/** Reads single files of the tar in which a save laid a generation down. Nobody waits for the disk. */
export class TarReader {
  readonly manifest: CompleteManifest;
  readonly #handle: FileHandle;
  readonly #files: TarFiles;
  readonly #entries: Readonly<Record<Folder, ReadonlyMap<string, ManifestEntry>>>;

  private constructor(handle: FileHandle, files: TarFiles, manifest: CompleteManifest) {
    this.#handle = handle;
    this.#files = files;
    this.manifest = manifest;
    this.#entries = entriesOf(manifest);
  }

  /**
   * @param handle the open tar, open for as long as it is read
   * @throws StorageError `corrupt` where it is no whole tar of ours, or lacks a file of its manifest
   */
  static async open(handle: FileHandle): Promise<TarReader> {
    const files = await readHeaders(handle);
    const { begin, size } = placeOfManifest(files);
    const text = await readAt(handle, begin, size);
    return new TarReader(handle, files, manifestOf(text, files));
  }

  /**
   * Gives the content of a file that the manifest names, in pieces. They are the reader's own no more: who
   * gets them may keep them.
   *
   * @throws StorageError `corrupt`, at the end, where it is not what the manifest says
   */
  async *read(path: string, folder: Folder = 'source'): AsyncGenerator<Buffer, void> {
    const entry = this.#entries[folder].get(path)!;
    const { begin, size } = findFile(this.#files, folder, path);
    const hash = createHash('sha256');
    for (let done = 0; done < size; ) {
      const piece = await readAt(this.#handle, begin + done, Math.min(READ_BYTES, size - done));
      if (piece.length === 0) throw damaged('it ends too early');
      hash.update(piece);
      done += piece.length;
      yield piece;
    }
    if (size !== entry.size || hash.digest('hex') !== entry.sha256) {
      throw damaged(`"${path}" is not what it was`);
    }
  }
}

async function readHeaders(handle: FileHandle): Promise<TarFiles> {
  const listing = listFiles((await handle.stat()).size);
  for (let next = listing.next(); ; ) {
    if (next.done === true) return next.value;
    next = listing.next(await readAt(handle, next.value, HEADERS_BYTES));
  }
}

/** What lies at a place, as much as is there, in memory of its own. */
async function readAt(handle: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(bytes), 0, bytes, at);
  return buffer.subarray(0, bytesRead);
}
