import { createHash } from 'node:crypto';
import {
  type CompleteManifest,
  entryNameOf,
  type Folder,
  type Manifest,
  type ManifestEntry,
} from '../contract.ts';
import { BlockGzip, blockBytesOf, type Lanes } from './gzip.ts';
import { tarEnd, tarEntryBytes, tarHeader, tarPadding } from './tar.ts';

/** Archives of tars up to this size are read whole: they need no index. */
export const INDEXED_ABOVE = 1024 * 1024;

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

/** Writes the archive of a generation: the manifest, then the files of each folder, sorted. */
export async function packArchive(
  manifest: CompleteManifest,
  read: ReadFile,
  write: (bytes: Buffer) => void,
  lanes: Lanes,
): Promise<Packed> {
  const sha256 = createHash('sha256');
  const md5 = createHash('md5');
  const files = listFiles(manifest, read);
  const gzip = new BlockGzip(
    blockBytesOf(files.reduce((bytes, file) => bytes + tarEntryBytes(file), 0)),
    (bytes) => {
      sha256.update(bytes);
      md5.update(bytes);
      write(bytes);
    },
    lanes,
  );
  try {
    const begins = await pushFiles(gzip, files);
    const { offsets, inputBytes, outputBytes } = await gzip.end();
    const artifactsFrom = 1 + manifest.entries.length;
    const blockIndex = {
      block_bytes: gzip.blockBytes,
      tar_bytes: inputBytes,
      blocks: offsets,
      entries: begins.slice(1, artifactsFrom),
      artifacts: begins.slice(artifactsFrom),
    };
    return {
      bytes: outputBytes,
      sha256: sha256.digest('hex'),
      md5: md5.digest('hex'),
      blockIndex: inputBytes > INDEXED_ABOVE ? blockIndex : null,
    };
  } finally {
    gzip.close();
  }
}

/** A file, by its name in the archive. */
type ArchivedFile = Readonly<{
  path: string;
  size: number;
  mode: number;
  pieces: () => Iterable<Uint8Array>;
}>;

/** What an archive holds, in its order: the manifest, which says what the rest is, comes first. */
function listFiles(manifest: CompleteManifest, read: ReadFile): ArchivedFile[] {
  const text = Buffer.from(formatManifest(manifest));
  const inFolder = (folder: Folder, files: readonly ManifestEntry[]) =>
    files.map(({ path, size, mode }) => ({
      path: entryNameOf({ folder, path }),
      size,
      mode,
      pieces: () => read(folder, path),
    }));
  return [
    {
      path: entryNameOf({ folder: null, path: 'manifest.json' }),
      size: text.length,
      mode: 0o644,
      pieces: () => [text],
    },
    ...inFolder('source', manifest.entries),
    ...inFolder('artifacts', manifest.artifacts),
  ];
}

/** @returns where in the tar the content of each file begins */
async function pushFiles(gzip: BlockGzip, files: readonly ArchivedFile[]): Promise<number[]> {
  const begins: number[] = [];
  // Of three pieces a file most give `null`: awaiting those too is what would be seen in a profile.
  for (const { path, size, mode, pieces } of files) {
    const headed = gzip.push(tarHeader({ path, size, mode }));
    if (headed !== null) await headed;
    begins.push(gzip.inputBytes);
    for (const piece of pieces()) {
      const full = gzip.push(piece);
      if (full !== null) await full;
    }
    const padded = gzip.push(tarPadding(size));
    if (padded !== null) await padded;
  }
  await gzip.push(tarEnd());
  return begins;
}

/** The text of `manifest.json`. */
export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
