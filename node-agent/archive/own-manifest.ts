/** The manifest in an archive of ours: where it is, and what it has to be. */
import { createHash } from 'node:crypto';
import {
  type CompleteManifest,
  checkPaths,
  digestText,
  entryNameOf,
  type Folder,
  isComplete,
  type Limits,
  type Manifest,
  type ManifestEntry,
  StorageError,
} from '../contract.ts';

export const MANIFEST = entryNameOf({ folder: null, path: 'manifest.json' });
/** The manifest of a generation with the most files, and the longest names, stays below this. */
export const MANIFEST_BYTES = 128 * 1024 * 1024;

export function damaged(problem: string, cause?: unknown): StorageError {
  return new StorageError('corrupt', `Cannot read the archive: ${problem}`, { cause });
}

/** One that this system wrote has the hashes of its files. @throws StorageError `corrupt` */
export function checkComplete(manifest: Manifest): CompleteManifest {
  if (isComplete(manifest)) return manifest;
  throw damaged('its manifest has no hashes');
}

/**
 * Checks what a manifest says of itself, before any file of its archive is read: the names of files pass the
 * validator, within limits, and its digest is that of what it lists. Each file is compared as it is read.
 *
 * @throws StorageError `corrupt`, `invalid_input` that names a path, `too_large`
 */
export function checkItself(manifest: CompleteManifest, limits: Limits): void {
  const { entries, artifacts, files, digest } = manifest;
  for (const listed of [entries, artifacts])
    checkPaths(
      listed.map(({ path }) => path),
      limits,
    );
  const bytes = [...entries, ...artifacts].reduce((sum, { size }) => sum + size, 0);
  if (bytes > limits.totalBytes) {
    const most = `a generation has at most ${limits.totalBytes} bytes`;
    throw new StorageError('too_large', `Cannot read the archive: ${most}`);
  }
  checkListed(files, entries);
  const found = createHash('sha256').update(digestText(entries, artifacts)).digest('hex');
  if (found !== digest) throw damaged('its digest is not that of its files');
}

/** @throws StorageError `corrupt` where other files are listed than there are hashes of */
export function checkListed(files: readonly string[], entries: readonly ManifestEntry[]): void {
  const hashed = new Set(entries.map(({ path }) => path));
  // In any order: that of the Python system is kept.
  const isSame = files.length === entries.length && hashed.size === entries.length;
  if (isSame && new Set(files).size === files.length && files.every((path) => hashed.has(path)))
    return;
  throw damaged('its manifest names other files than it has hashes of');
}

/** What a manifest says of the files of each folder, by path. */
export function entriesOf({
  entries,
  artifacts,
}: CompleteManifest): Readonly<Record<Folder, ReadonlyMap<string, ManifestEntry>>> {
  return { source: byPath(entries), artifacts: byPath(artifacts) };
}

function byPath(entries: readonly ManifestEntry[]): Map<string, ManifestEntry> {
  return new Map(entries.map((entry) => [entry.path, entry]));
}
