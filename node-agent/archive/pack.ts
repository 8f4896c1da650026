import { createHash } from 'node:crypto';
import type { CompleteManifest } from '../contract.ts';
import { BLOCK_BYTES, BlockGzip } from './gzip.ts';
import { tarEnd, tarHeader, tarPadding } from './tar.ts';

/** Archives of tars up to this size are read whole: they need no index. */
const INDEXED_ABOVE = 1024 * 1024;

/**
 * Where things are in an archive, so that one file is read by one Range request. Block `i` holds
 * the bytes from `i * block_bytes` of the tar and begins at `blocks[i]` of the archive; the last
 * ends ten bytes before the archive does.
 */
export type BlockIndex = Readonly<{
  block_bytes: number;
  tar_bytes: number;
  blocks: number[];
  /** Where in the tar the content of each of the manifest's `entries` begins. */
  entries: number[];
  /** The same for `artifacts`. */
  artifacts: number[];
}>;

export type Packed = Readonly<{
  bytes: number;
  sha256: string;
  md5: string;
  blockIndex: BlockIndex | null;
}>;

/** Gives the content of a file in pieces: exactly `size` bytes, or it throws. */
export type ReadFile = (folder: 'source' | 'artifacts', path: string) => Iterable<Uint8Array>;

/** Writes the archive of a generation: the manifest, then `source/…` and `artifacts/…`, sorted. */
export function packArchive(
  manifest: CompleteManifest,
  read: ReadFile,
  write: (bytes: Buffer) => void,
): Packed {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  const gzip = new BlockGzip((bytes) => {
    sha256.update(bytes);
    md5.update(bytes);
    write(bytes);
  });

  const text = Buffer.from(formatManifest(manifest));
  gzip.push(tarHeader({ path: 'manifest.json', size: text.length, mode: 0o644 }));
  gzip.push(text);
  gzip.push(tarPadding(text.length));

  const pushAll = (folder: 'source' | 'artifacts') =>
    manifest[folder === 'source' ? 'entries' : 'artifacts'].map((entry) => {
      gzip.push(tarHeader({ ...entry, path: `${folder}/${entry.path}` }));
      const begin = gzip.inputBytes;
      for (const piece of read(folder, entry.path)) gzip.push(piece);
      gzip.push(tarPadding(entry.size));
      return begin;
    });
  const entries = pushAll('source');
  const artifacts = pushAll('artifacts');
  gzip.push(tarEnd());

  const { offsets, inputBytes, outputBytes } = gzip.end();
  return {
    bytes: outputBytes,
    sha256: sha256.digest('hex'),
    md5: md5.digest('hex'),
    blockIndex:
      inputBytes > INDEXED_ABOVE
        ? { block_bytes: BLOCK_BYTES, tar_bytes: inputBytes, blocks: offsets, entries, artifacts }
        : null,
  };
}

/** The text of `manifest.json`. */
export function formatManifest(manifest: CompleteManifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
