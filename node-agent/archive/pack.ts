import { createHash } from 'node:crypto';
import type { CompleteManifest, ManifestEntry } from '../contract.ts';
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

/**
 * Writes the archive of a generation: the manifest, then `source/…` and `artifacts/…`, sorted.
 *
 * @param parallel as for {@link BlockGzip}; the bytes are the same
 */
export async function packArchive(
  manifest: CompleteManifest,
  read: ReadFile,
  write: (bytes: Buffer) => void,
  parallel: boolean,
): Promise<Packed> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  const gzip = new BlockGzip(
    (bytes) => {
      sha256.update(bytes);
      md5.update(bytes);
      write(bytes);
    },
    { parallel },
  );

  try {
    const { blocks, entries, artifacts, tarBytes, bytes } = await pushAll(gzip, manifest, read);
    return {
      bytes,
      sha256: sha256.digest('hex'),
      md5: md5.digest('hex'),
      blockIndex:
        tarBytes > INDEXED_ABOVE
          ? { block_bytes: BLOCK_BYTES, tar_bytes: tarBytes, blocks, entries, artifacts }
          : null,
    };
  } finally {
    gzip.close();
  }
}

/** @returns where things are, as in {@link BlockIndex} */
async function pushAll(gzip: BlockGzip, manifest: CompleteManifest, read: ReadFile) {
  const text = Buffer.from(formatManifest(manifest));
  await push(gzip, 'manifest.json', { size: text.length, mode: 0o644 }, [text]);
  const pushFolder = async (folder: 'source' | 'artifacts') => {
    const begins: number[] = [];
    for (const entry of manifest[folder === 'source' ? 'entries' : 'artifacts']) {
      const { path } = entry;
      begins.push(await push(gzip, `${folder}/${path}`, entry, read(folder, path)));
    }
    return begins;
  };
  const entries = await pushFolder('source');
  const artifacts = await pushFolder('artifacts');
  await gzip.push(tarEnd());
  const { offsets: blocks, inputBytes: tarBytes, outputBytes: bytes } = await gzip.end();
  return { blocks, entries, artifacts, tarBytes, bytes };
}

/** @returns where in the tar the content of the file begins */
async function push(
  gzip: BlockGzip,
  path: string,
  { size, mode }: Pick<ManifestEntry, 'size' | 'mode'>,
  content: Iterable<Uint8Array>,
): Promise<number> {
  // Of three pieces a file most are `null`: awaiting those too is what would be seen in a profile.
  let full = gzip.push(tarHeader({ path, size, mode }));
  if (full !== null) await full;
  const begin = gzip.inputBytes;
  for (const piece of content) {
    full = gzip.push(piece);
    if (full !== null) await full;
  }
  full = gzip.push(tarPadding(size));
  if (full !== null) await full;
  return begin;
}

/** The text of `manifest.json`. */
export function formatManifest(manifest: CompleteManifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
