import type { FileEntry } from './api.ts';
import { comparePaths } from './paths.ts';

/** How the files of one generation differ from those of another, by path. */
export type FilesDiff = Readonly<{
  added: FileEntry[];
  removed: FileEntry[];
  /** In both, with other content or another mode. */
  modified: { path: string; from: FileEntry; to: FileEntry }[];
  unchanged: FileEntry[];
}>;

/** Compares the files of two generations by their hashes and modes. A file that moved is one removed and one added. */
export function diffFiles(from: readonly FileEntry[], to: readonly FileEntry[]): FilesDiff {
  const before = new Map(from.map((file) => [file.path, file]));
  const diff: FilesDiff = { added: [], removed: [], modified: [], unchanged: [] };
  for (const file of to) {
    const old = before.get(file.path);
    before.delete(file.path);
    if (old === undefined) diff.added.push(file);
    else if (old.sha256 === file.sha256 && old.mode === file.mode) diff.unchanged.push(file);
    else diff.modified.push({ path: file.path, from: old, to: file });
  }
  diff.removed.push(...before.values());
  for (const list of [diff.added, diff.removed, diff.modified, diff.unchanged]) {
    list.sort((a, b) => comparePaths(a.path, b.path));
  }
  return diff;
}
