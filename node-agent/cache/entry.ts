import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Ref } from '../contract.ts';

/** The file of an entry that says what it is. */
export const ENTRY_FILE = '.entry.json';

const EntrySchema = v.object({
  /** By which the cloud knows the archive. */
  etag: v.string(),
  /** Of the archive. */
  sha256: v.string(),
  bytes: v.number(),
  /** Of its content. */
  digest: v.string(),
  /** When the cloud last said that it is still this. Milliseconds. */
  checked_at: v.number(),
});

/** What is kept beside the archive of an entry. */
export type EntryFile = Readonly<v.InferOutput<typeof EntrySchema>>;

/** A generation that was fetched from the cloud. It can be had again, so it may be evicted. */
export type CacheEntry = EntryFile &
  Readonly<{
    ref: Ref;
    path: string;
    /** Milliseconds. */
    usedAt: number;
  }>;

/** What lies at a path; `null` where that is no entry. */
export function readEntry(ref: Ref, path: string): CacheEntry | null {
  const file = join(path, ENTRY_FILE);
  try {
    const entry = v.parse(EntrySchema, JSON.parse(readFileSync(file, 'utf8')));
    return { ...entry, ref, path, usedAt: statSync(file).mtimeMs };
  } catch {
    // Half written by nobody, but perhaps by hand: it is no entry.
    return null;
  }
}

/** What is written down of an entry. */
export function toFile({ etag, sha256, bytes, digest, checked_at }: CacheEntry): EntryFile {
  return { etag, sha256, bytes, digest, checked_at };
}
