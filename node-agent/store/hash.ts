import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { ManifestEntry } from '../contract.ts';
import type { Place } from '../disk/read-file.ts';
import { findText } from '../disk/read-manifest.ts';

export function sha256Hex(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** What an archive is: sha256 for what is recorded, MD5 for what the eTag says. */
export type ArchiveFacts = Readonly<{ bytes: number; sha256: string; md5: string }>;

/**
 * What is written down of an archive: `archive.json`, with the digest of what is in it.
 *
 * @returns `null` where it is not there, or was emptied by a power loss; the archive itself was synced
 * @throws StorageError `corrupt` where something else is in its place
 */
export function readArchiveFacts(place: Place): (ArchiveFacts & { digest?: string }) | null {
  const text = findText(place);
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** Hashes a file in pieces. */
export async function hashFile(path: string): Promise<ArchiveFacts> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  let bytes = 0;
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
    bytes += piece.length;
    sha256.update(piece);
    md5.update(piece);
  }
  return { bytes, sha256: sha256.digest('hex'), md5: md5.digest('hex') };
}

/** Whether an open file is what its entry in the manifest says, every byte of it. */
export async function hasContent(handle: FileHandle, entry: ManifestEntry): Promise<boolean> {
  const hash = createHash('sha256');
  const pieces = handle.createReadStream({ start: 0, autoClose: false, end: entry.size });
  for await (const piece of pieces) hash.update(piece as Buffer);
  return hash.digest('hex') === entry.sha256;
}
