import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { type CompleteManifest, entryNameOf, type Folder } from '../contract.ts';
import { blockBytesOf, FINAL_BLOCK, HEADER_BYTES, MARGIN_BYTES, TRAILER_BYTES } from './gzip.ts';
import { damaged, MANIFEST } from './own-manifest.ts';
import { type BlockIndex, formatManifest, INDEXED_ABOVE } from './pack.ts';
import { tarEntryBytes } from './tar.ts';

const inflate = promisify(inflateRaw);

/** How a full flush ends. The same bytes may be anywhere else too. */
const FLUSH = Buffer.from([0, 0, 0xff, 0xff]);

/**
 * Finds where the blocks of an archive of ours are, without what was written down of it.
 *
 * @returns `null` for a small one, which has no index
 * @throws StorageError `corrupt` where it is none of ours
 */
export async function findBlocks(
  handle: FileHandle,
  manifest: CompleteManifest,
): Promise<BlockIndex | null> {
  const ends = (await handle.stat()).size - TRAILER_BYTES;
  const trailer = Buffer.alloc(4);
  await handle.read(trailer, 0, 4, ends + TRAILER_BYTES - 4);
  const tarBytes = trailer.readUInt32LE();
  if (tarBytes <= INDEXED_ABOVE) return null;
  const blockBytes = blockBytesOf(tarBytes);
  const blocks: number[] = [];
  for (let at = HEADER_BYTES; at < ends; ) {
    blocks.push(at);
    at = await endOfBlock(handle, at, ends, blockBytes);
  }
  if (blocks.length !== Math.ceil(tarBytes / blockBytes)) throw damaged('its blocks are not ours');
  return { block_bytes: blockBytes, tar_bytes: tarBytes, blocks, ...beginsOf(manifest) };
}

/** The first place from where on nothing is missing: what comes before inflates to a whole block. */
async function endOfBlock(
  handle: FileHandle,
  begin: number,
  ends: number,
  blockBytes: number,
): Promise<number> {
  const most = Math.min(blockBytes + MARGIN_BYTES, ends - begin);
  const bytes = Buffer.alloc(most + FINAL_BLOCK.length);
  const { bytesRead } = await handle.read(bytes, 0, most, begin);
  for (
    let at = bytes.indexOf(FLUSH);
    at !== -1 && at < bytesRead;
    at = bytes.indexOf(FLUSH, at + 1)
  ) {
    const end = at + FLUSH.length;
    if (begin + end === ends) return ends;
    const block = Buffer.concat([bytes.subarray(0, end), FINAL_BLOCK]);
    const inflated = await inflate(block, { maxOutputLength: blockBytes }).catch(() => null);
    if (inflated?.length === blockBytes) return begin + end;
  }
  throw damaged('its blocks are not ours');
}

/** Where in the tar the content of each file begins, the manifest being the first. */
function beginsOf(manifest: CompleteManifest): Pick<BlockIndex, 'entries' | 'artifacts'> {
  const { entries, artifacts } = manifest;
  let at = tarEntryBytes({ path: MANIFEST, size: Buffer.byteLength(formatManifest(manifest)) });
  const begins = (folder: Folder, files: CompleteManifest['entries']) =>
    files.map(({ path, size }) => {
      const name = entryNameOf({ folder, path });
      const begin = at + tarEntryBytes({ path: name, size: 0 });
      at += tarEntryBytes({ path: name, size });
      return begin;
    });
  return { entries: begins('source', entries), artifacts: begins('artifacts', artifacts) };
}
