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
export const HEADERS_BYTES = 5 * TAR_BLOCK;
const READ_BYTES = 256 * 1024;

/**
 * The tar in which a save laid a generation down: its files in any order, the manifest after them. For a
 * worker, which may wait for the disk: `tar-reader.ts` is for everybody else.
 */
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
    this.#files = readHeaders(fd);
    this.manifest = manifestOf(this.#readManifest(), this.#files);
    this.#entries = entriesOf(this.manifest);
  }

  /**
   * Gives the content of a file in pieces, each good until the next.
   *
   * @throws StorageError `corrupt` at the end, where it is not what the manifest says
   */
  readonly read = (folder: Folder, path: string): Iterable<Uint8Array> =>
    this.#read(findFile(this.#files, folder, path), this.#entries[folder].get(path)!);

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

  #readManifest(): Buffer {
    const { begin, size } = placeOfManifest(this.#files);
    const pieces: Buffer[] = [];
    for (const piece of readRange(this.#fd, begin, size)) pieces.push(Buffer.from(piece));
    return Buffer.concat(pieces);
  }
}

/** Where the files of a tar are, by their names. */
export type TarFiles = ReadonlyMap<string, PlainEntry>;

/** @throws StorageError `corrupt` */
export function placeOfManifest(files: TarFiles): PlainEntry {
  const place = files.get(MANIFEST);
  if (place === undefined) throw damaged('it has no manifest');
  if (place.size > MANIFEST_BYTES) throw damaged('its manifest is too large');
  return place;
}

/** @throws StorageError `corrupt` where it is none, or the files are not those that it names */
export function manifestOf(text: Buffer, files: TarFiles): CompleteManifest {
  const manifest = checkComplete(parseManifest(String(text), MANIFEST));
  const { entries, artifacts } = manifest;
  if (entries.length + artifacts.length + 1 !== files.size) {
    throw damaged('it holds more or less than its manifest says');
  }
  for (const { path } of entries) findFile(files, 'source', path);
  for (const { path } of artifacts) findFile(files, 'artifacts', path);
  return manifest;
}

/** @throws StorageError `corrupt` where it is missing */
export function findFile(files: TarFiles, folder: Folder, path: string): PlainEntry {
  const name = entryNameOf({ folder, path });
  const found = files.get(name);
  if (found === undefined) throw damaged(`"${name}" is missing`);
  return found;
}

/**
 * Lists the files of a tar of so many bytes. It asks for the headers at one place after the other, and is
 * given what lies there, at most {@link HEADERS_BYTES}: who reads may wait for them or not.
 *
 * @throws StorageError `corrupt` where it is no whole tar of ours
 */
export function* listFiles(bytes: number): Generator<number, TarFiles, Buffer> {
  const files = new Map<string, PlainEntry>();
  for (let at = 0; ; ) {
    const headers = yield at;
    if (headers.length >= TAR_BLOCK && headers[0] === 0) return files;
    const entry = readPlainEntry(headers, 0);
    if (entry === null || at + entry.end > bytes) throw damaged('it is no whole tar of ours');
    files.set(entry.path, { ...entry, begin: at + entry.begin, end: at + entry.end });
    at += entry.end;
  }
}

function readHeaders(fd: number): TarFiles {
  const headers = Buffer.alloc(HEADERS_BYTES);
  const listing = listFiles(fstatSync(fd).size);
  for (let next = listing.next(); ; ) {
    if (next.done === true) return next.value;
    const read = readSync(fd, headers, 0, HEADERS_BYTES, next.value);
    next = listing.next(headers.subarray(0, read));
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
