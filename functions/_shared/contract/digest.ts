import type { ManifestEntry } from './manifest.ts';
import { comparePaths } from './paths.ts';

/**
 * The text whose sha256 is the digest of a generation: one line a file, sorted by path,
 * `{mode in octal} {sha256} {path in the archive}\n`. Two saves with the same digest hold
 * the same content; times and metadata do not count. The hash itself is left to the
 * runtime, so that this file needs none.
 */
export function digestText(
  entries: readonly ManifestEntry[],
  artifacts: readonly ManifestEntry[] = [],
): string {
  const lines = [
    ...entries.map((entry) => ({ ...entry, path: `source/${entry.path}` })),
    ...artifacts.map((entry) => ({ ...entry, path: `artifacts/${entry.path}` })),
  ];
  return lines
    .sort((a, b) => comparePaths(a.path, b.path))
    .map((entry) => `${entry.mode.toString(8)} ${entry.sha256} ${entry.path}\n`)
    .join('');
}

export const DIGEST_PATTERN = /^[0-9a-f]{64}$/;

/** Whether a text may be a digest: 64 hexadecimal digits. */
export function isDigest(text: string): boolean {
  return DIGEST_PATTERN.test(text);
}
