import { createHash } from 'node:crypto';
import {
  type CompleteManifest,
  entryNameOf,
  type Folder,
  type ManifestEntry,
} from '../contract.ts';
import { BLOCK_BYTES, BlockGzip, type Lanes } from './gzip.ts';
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
export type ReadFile = (folder: Folder, path: string) => Iterable<Uint8Array>;

/** Writes the archive of a generation: the manifest, then `source/…` and `artifacts/…`, sorted. */
export async function packArchive(
  manifest: CompleteManifest,
  read: ReadFile,
  write: (bytes: Buffer) => void,
  lanes: Lanes,
): Promise<Packed> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  const gzip = new BlockGzip((bytes) => {
    sha256.update(bytes);
    md5.update(bytes);
    write(bytes);
  }, lanes);

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
  const path = entryNameOf({ folder: null, path: 'manifest.json' });
  const first = { path, size: text.length, mode: 0o644 };
  await pushFiles(gzip, [first], () => [text]);
  const { entries: sources, artifacts: others } = manifest;
  const entries = await pushFolder(gzip, 'source', sources, read);
  const artifacts = await pushFolder(gzip, 'artifacts', others, read);
  await gzip.push(tarEnd());
  const { offsets: blocks, inputBytes: tarBytes, outputBytes: bytes } = await gzip.end();
  return { blocks, entries, artifacts, tarBytes, bytes };
}

function pushFolder(
  gzip: BlockGzip,
  folder: Folder,
  files: readonly ManifestEntry[],
  read: ReadFile,
) {
  const named = files.map((file) => ({ ...file, name: entryNameOf({ folder, path: file.path }) }));
  return pushFiles(gzip, named, ({ path }) => read(folder, path));
}

/** A file, and its name in the archive; left out: its path. */
type Named = Pick<ManifestEntry, 'path' | 'size' | 'mode'> & Readonly<{ name?: string }>;

/** @returns where in the tar the content of each file begins */
async function pushFiles(
  gzip: BlockGzip,
  files: readonly Named[],
  read: (file: Named) => Iterable<Uint8Array>,
): Promise<number[]> {
  const begins: number[] = [];
  // Of three pieces a file most give `null`: awaiting those too is what would be seen in a profile.
  for (const file of files) {
    const { name = file.path, size, mode } = file;
    const headed = gzip.push(tarHeader({ path: name, size, mode }));
    if (headed !== null) await headed;
    begins.push(gzip.inputBytes);
    for (const piece of read(file)) {
      const full = gzip.push(piece);
      if (full !== null) await full;
    }
    const padded = gzip.push(tarPadding(size));
    if (padded !== null) await padded;
  }
  return begins;
}

/** The text of `manifest.json`. */
export function formatManifest(manifest: CompleteManifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
