/** A generation as it lies in a tar of ours, and such as none would. */
import { createHash } from 'node:crypto';
import { tarEnd, tarHeader, tarPadding } from '../../node-agent/archive/tar.ts';
import {
  type CompleteManifest,
  digestText,
  entryNameOf,
  type ManifestEntry,
} from '../../node-agent/contract.ts';

const LARGE = Buffer.alloc(600_000, 'large');
/** Small, empty, of a long name, and of more than one piece. */
export const SOURCE = {
  'app/main.py': 'print(1)\n',
  empty: '',
  [`${'n'.repeat(200)}/long`]: 'x',
  LARGE,
};
export const ARTIFACTS = { 'log.txt': 'built\n' };

/** The sha256 of a content, in hex. */
export const hash = (content: string | Buffer) =>
  createHash('sha256').update(content).digest('hex');

/** What a manifest says of files. */
export function entriesOf(files: Record<string, string | Buffer>): ManifestEntry[] {
  return Object.entries(files).map(([path, content]) => ({
    ...{ path, size: Buffer.byteLength(content), sha256: hash(content), mode: 0o644 },
  }));
}

/** Of {@link SOURCE} and {@link ARTIFACTS}. */
export function manifestFor(): CompleteManifest {
  const [entries, artifacts] = [entriesOf(SOURCE), entriesOf(ARTIFACTS)];
  return {
    ...{ generation_id: 'g', project_id: 'p', version: 1, created_at: '2026-01-01T00:00:00Z' },
    ...{ file_count: entries.length, total_size_bytes: 1, metadata: {}, schema: 1 as const },
    ...{ files: entries.map(({ path }) => path), entries, artifacts },
    digest: hash(digestText(entries, artifacts)),
  };
}

/** By their names in the archive. */
export type Files = Map<string, string | Buffer>;

/** By their names in the archive: files first, the manifest after them. */
export function filesOf(manifest: unknown = manifestFor()): Files {
  const named = (folder: 'source' | 'artifacts', files: Record<string, string | Buffer>) =>
    Object.entries(files).map(
      ([path, content]) => [entryNameOf({ folder, path }), content] as const,
    );
  return new Map([
    ...named('source', SOURCE),
    ...named('artifacts', ARTIFACTS),
    [entryNameOf({ folder: null, path: 'manifest.json' }), JSON.stringify(manifest)],
  ]);
}

/** The tar of them. */
export function pack(files: Files, end = tarEnd()): Buffer {
  const parts = [...files].flatMap(([path, content]) => {
    const bytes = Buffer.from(content);
    return [tarHeader({ path, size: bytes.length, mode: 0o644 }), bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...parts, end]);
}
