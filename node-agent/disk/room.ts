import { statfsSync } from 'node:fs';

/** What a file system has, and has left. Inodes are infinite where it makes them as they are needed. */
export type Room = Readonly<{
  bytes: number;
  freeBytes: number;
  inodes: number;
  freeInodes: number;
}>;

/** @param path of something on the file system; it has to be there */
export function roomAt(path: string): Room {
  const { bavail, blocks, bsize, ffree, files } = statfsSync(path);
  return {
    bytes: blocks * bsize,
    freeBytes: bavail * bsize,
    inodes: files > 0 ? files : Number.POSITIVE_INFINITY,
    freeInodes: files > 0 ? ffree : Number.POSITIVE_INFINITY,
  };
}

/** A catalog that is opened makes its log and its index anew. */
const CATALOG_BYTES = 1024 * 1024;
const CATALOG_INODES = 4;

/** Why nothing can be made there any more, which SQLite does not always say; `null` where it can. */
export function whyFull(path: string): string | null {
  const { freeBytes, freeInodes } = roomAt(path);
  if (freeInodes < CATALOG_INODES) return 'the file system has no inodes left';
  return freeBytes < CATALOG_BYTES ? 'the disk is full' : null;
}
