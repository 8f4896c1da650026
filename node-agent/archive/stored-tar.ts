import { createHash } from 'node:crypto';
import { fstatSync, readSync } from 'node:fs';
import {
  type CompleteManifest,
  entryNameOf,
  type Folder,
  type ManifestEntry,
  parseManifest,
} from '../contract.ts';
import { checkComplete, damaged, entriesOf, MANIFEST, MANIFEST_BYTES } from './own-manifest.ts';
import { type PlainEntry, readPlainEntry } from './plain-tar.ts';
import { TAR_BLOCK } from './tar.ts';

/**
 * No headers of ours are longer: two blocks, and between them the record of the longest name. That has 1024
 * bytes, those of a folder before it, and what says how long it is: three blocks.
 */
const HEADERS_BYTES = 5 * TAR_BLOCK;
const READ_BYTES = 256 * 1024;

/** The tar in which a save laid a generation down: its files in any order, the manifest after them. */
export class StoredTar {
  readonly manifest: CompleteManifest;
  readonly #fd: number;
  readonly #files: ReadonlyMap<string, PlainEntry>;
  readonly #entries: Readonly<Record<Folder, ReadonlyMap<string, ManifestEntry>>>;

  /**
   * @param fd the open tar; whoever opened it closes it
   * @throws StorageError `corrupt` where it is no whole tar of ours, or lacks a file of its manifest
   */
  constructor(fd: number) {
    this.#fd = fd;
    this.#files = listFiles(fd);
    this.manifest = checkComplete(parseManifest(String(this.#readManifest()), MANIFEST));
    const { entries, artifacts } = this.manifest;
    if (entries.length + artifacts.length + 1 !== this.#files.size) {
      throw damaged('it holds more or less than its manifest says');
    }
    for (const { path } of entries) this.#find('source', path);
    for (const { path } of artifacts) this.#find('artifacts', path);
    this.#entries = entriesOf(this.manifest);
  }

  /**
   * Gives the content of a file in pieces, each good until the next.
   *
   * @throws StorageError `corrupt` at the end, where it is not what the manifest says
   */
  readonly read = (folder: Folder, path: string): Iterable<Uint8Array> =>
    this.#read(this.#find(folder, path), this.#entries[folder].get(path)!);

  /** Reads every byte. @throws StorageError `corrupt` where one is not what the manifest says */
  check(): void {
    for (const folder of ['source', 'artifacts'] as const) {
      for (const path of this.#entries[folder].keys()) for (const _ of this.read(folder, path));
    }
  }

  *#read({ begin, size }: PlainEntry, entry: ManifestEntry): Generator<Uint8Array, void> {
    const hash = createHash('sha256');
    for (const piece of readRange(this.#fd, begin, size)) {
      hash.update(piece);
      yield piece;
    }
    if (size === entry.size && hash.digest('hex') === entry.sha256) return;
    throw damaged(`"${entry.path}" is not what it was`);
  }

  #find(folder: Folder, path: string): PlainEntry {
    const name = entryNameOf({ folder, path });
    const found = this.#files.get(name);
    if (found === undefined) throw damaged(`"${name}" is missing`);
    return found;
  }

  #readManifest(): Buffer {
    const { begin, size } = this.#files.get(MANIFEST) ?? missing();
    if (size > MANIFEST_BYTES) throw damaged('its manifest is too large');
    const pieces: Buffer[] = [];
    for (const piece of readRange(this.#fd, begin, size)) pieces.push(Buffer.from(piece));
    return Buffer.concat(pieces);
  }
}

function missing(): never {
  throw damaged('it has no manifest');
}

function listFiles(fd: number): Map<string, PlainEntry> {
  const files = new Map<string, PlainEntry>();
  const { size } = fstatSync(fd);
  const headers = Buffer.alloc(HEADERS_BYTES);
  for (let at = 0; ; ) {
    const read = readSync(fd, headers, 0, HEADERS_BYTES, at);
    if (read >= TAR_BLOCK && headers[0] === 0) return files;
    const entry = readPlainEntry(headers.subarray(0, read), 0);
    if (entry === null || at + entry.end > size) throw damaged('it is no whole tar of ours');
    files.set(entry.path, { ...entry, begin: at + entry.begin, end: at + entry.end });
    at += entry.end;
  }
}

function* readRange(fd: number, begin: number, size: number): Generator<Uint8Array, void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, Math.max(1, size)));
  try {
    for (let done = 0; done < size; ) {
      const read = readSync(fd, buffer, 0, Math.min(buffer.length, size - done), begin + done);
      if (read === 0) throw damaged('it ends too early');
      done += read;
      yield buffer.subarray(0, read);
    }
  } finally {
    // Given back at once: the garbage collector lets 64 MB of such memory pile up.
    (buffer.buffer as ArrayBuffer).transfer(0);
  }
}
