import type { TarEntry } from '../contract.ts';
import { TAR_BLOCK, tarEnd, tarHeader, tarPadding } from './tar.ts';

/** Where in a header its fields are. */
const NAME = [0, 100] as const;
const MODE = [100, 107] as const;
const SIZE = [124, 135] as const;
const TYPE = 156;
const PREFIX = [345, 500] as const;

const FILE = '0'.charCodeAt(0);
const PAX = 'x'.charCodeAt(0);
/** A pax header of ours has one record. */
const PATH_RECORD = /^\d+ path=(.*)\n$/s;

/**
 * Lists the files of a tar in memory that is, byte for byte, what `tar.ts` writes: that is found out
 * by writing each header again.
 *
 * @returns `null` for every other tar, well made or not
 */
export function listPlainTar(tar: Buffer): TarEntry<Uint8Array[]>[] | null {
  const files: TarEntry<Uint8Array[]>[] = [];
  for (let at = 0; ; ) {
    if (tar[at] === 0) return tar.subarray(at).equals(tarEnd()) ? files : null;
    const entry = readPlainEntry(tar, at);
    if (entry === null) return null;
    const { path: name, size, mode, begin, end } = entry;
    const padding = tarPadding(size);
    if (!tar.subarray(begin + size, end).equals(padding)) return null;
    const named = { name, type: 'file', size, mode, linkName: '' } as const;
    files.push({ header: named, body: [tar.subarray(begin, begin + size)] });
    at = end;
  }
}

/** A file of a tar of ours, where its content begins, and where the next entry does. */
export type PlainEntry = Readonly<Entry & { begin: number; end: number }>;

/**
 * Reads the headers at a place of a tar.
 *
 * @returns `null` where they are not, byte for byte, what `tar.ts` writes
 */
export function readPlainEntry(tar: Buffer, at: number): PlainEntry | null {
  const entry = readEntry(tar, at);
  if (entry === null) return null;
  const header = tarHeader(entry);
  const begin = at + header.length;
  if (!tar.subarray(at, begin).equals(header)) return null;
  return { ...entry, begin, end: begin + entry.size + tarPadding(entry.size).length };
}

type Entry = { path: string; size: number; mode: number };

/** What the header of an entry, or both headers, say; `null` where they are none of ours. */
function readEntry(tar: Buffer, at: number): Entry | null {
  if (tar[at + TYPE] !== PAX) return readHeader(tar, at);
  const size = readOctal(tar, at, SIZE);
  const begin = at + TAR_BLOCK;
  const path = PATH_RECORD.exec(tar.toString('utf8', begin, begin + size))?.[1];
  const entry = readHeader(tar, begin + size + tarPadding(size).length);
  return path === undefined || entry === null ? null : { ...entry, path };
}

function readHeader(tar: Buffer, at: number): Entry | null {
  if (tar[at + TYPE] !== FILE) return null;
  const name = readText(tar, at, NAME);
  const prefix = readText(tar, at, PREFIX);
  return {
    path: prefix === '' ? name : `${prefix}/${name}`,
    size: readOctal(tar, at, SIZE),
    mode: readOctal(tar, at, MODE),
  };
}

type Field = readonly [begin: number, end: number];

/** Text up to its NUL, or to the end of the field. */
function readText(tar: Buffer, at: number, [begin, end]: Field): string {
  const text = tar.toString('latin1', at + begin, at + end);
  const length = text.indexOf('\0');
  return length === -1 ? text : text.slice(0, length);
}

function readOctal(tar: Buffer, at: number, [begin, end]: Field): number {
  return Number.parseInt(tar.toString('latin1', at + begin, at + end), 8);
}
