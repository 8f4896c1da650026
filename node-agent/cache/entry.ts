import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Ref } from '../contract.ts';

/** The file of an entry that says what it is. */
export const ENTRY_FILE = '.entry.json';

/** What is kept beside the archive of an entry. */
export type EntryFile = {
  /** Of the archive. */
  etag: string;
  sha256: string;
  bytes: number;
  /** Of its content. */
  digest: string;
  /** When the cloud last said that it is still this. Milliseconds. */
  checked_at: number;
};

/** A generation that was fetched from the cloud. It can be had again, so it may be evicted. */
export type CacheEntry = Readonly<{
  ref: Ref;
  path: string;
  etag: string;
  sha256: string;
  /** Of its archive. */
  bytes: number;
  /** Of its content. */
  digest: string;
  checkedAt: number;
  /** Milliseconds. */
  usedAt: number;
}>;

/** What lies at a path; `null` where that is no entry. */
export function readEntry(ref: Ref, path: string): CacheEntry | null {
  const file = join(path, ENTRY_FILE);
  try {
    const entry = JSON.parse(readFileSync(file, 'utf8')) as EntryFile;
    const { etag, sha256, bytes, digest, checked_at: checkedAt } = entry;
    return { ref, path, etag, sha256, bytes, digest, checkedAt, usedAt: statSync(file).mtimeMs };
  } catch {
    // Half written by nobody, but perhaps by hand: it is no entry.
    return null;
  }
}
