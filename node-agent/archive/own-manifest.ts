/** The manifest in an archive of ours: where it is, and what it has to be. */
import {
  type CompleteManifest,
  entryNameOf,
  type Folder,
  isComplete,
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
