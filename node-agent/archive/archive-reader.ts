import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip, inflateRaw } from 'node:zlib';
import {
  type CompleteManifest,
  entryNameOf,
  type Folder,
  type ManifestEntry,
  parseManifest,
} from '../contract.ts';
import { FINAL_BLOCK, TRAILER_BYTES } from './gzip.ts';
import { checkComplete, damaged, entriesOf, MANIFEST, MANIFEST_BYTES } from './own-manifest.ts';
import type { BlockIndex } from './pack.ts';
import { readPlainEntry } from './plain-tar.ts';

const unzip = promisify(gunzip);
const inflate = promisify(inflateRaw);

/** The longest tar that is unpacked whole, where no index says where its blocks are. */
const WHOLE_BYTES = 32 * 1024 * 1024;

/** Where in a tar the content of each file begins, by folder and path, and how to get a part of it. */
type Blocks = Readonly<{
  blockBytes: number;
  block(index: number): Promise<Buffer>;
  beginOf(folder: Folder, path: string): number | undefined;
}>;

/** Reads single files of an archive of ours: of one with an index no more than the blocks they are in. */
export class ArchiveReader {
  readonly manifest: CompleteManifest;
  readonly #blocks: Blocks;
  readonly #entries: Readonly<Record<Folder, ReadonlyMap<string, ManifestEntry>>>;
  /** The block that was read last: small files that come one after another lie in one. */
  #last: Readonly<{ index: number; bytes: Promise<Buffer> }> | null = null;

  private constructor(manifest: CompleteManifest, blocks: Blocks) {
    this.manifest = manifest;
    this.#blocks = blocks;
    this.#entries = entriesOf(manifest);
  }

  /**
   * @param handle the open archive, open for as long as it is read
   * @param index `null`: it is unpacked whole, up to 32 MiB
   * @throws StorageError `corrupt` where it is no archive of ours, or has no index and is larger
   */
  static async open(handle: FileHandle, index: BlockIndex | null): Promise<ArchiveReader> {
    const { manifest, ...blocks } = await (index === null
      ? readWhole(handle)
      : readIndexed(handle, index));
    return new ArchiveReader(manifest, blocks);
  }

  /** Reads all of it. @throws StorageError `corrupt` where a file is not what the manifest says */
  async check(): Promise<void> {
    for (const folder of ['source', 'artifacts'] as const) {
      for (const path of this.#entries[folder].keys())
        for await (const _ of this.read(path, folder));
    }
  }

  /**
   * Gives the content of a file that the manifest names, in pieces.
   *
   * @throws StorageError `corrupt`, at the end, where it is not what the manifest says
   */
  async *read(path: string, folder: Folder = 'source'): AsyncGenerator<Buffer, void> {
    const { size, sha256 } = this.#entries[folder].get(path)!;
    const begin = this.#blocks.beginOf(folder, path);
    if (begin === undefined) throw damaged(`"${path}" is missing`);
    const hash = createHash('sha256');
    for (let at = begin; at < begin + size; ) {
      const index = Math.floor(at / this.#blocks.blockBytes);
      const block = await this.#block(index);
      const from = at - index * this.#blocks.blockBytes;
      const piece = block.subarray(from, from + begin + size - at);
      if (piece.length === 0) throw damaged('it ends too early');
      hash.update(piece);
      at += piece.length;
      yield piece;
    }
    if (hash.digest('hex') !== sha256) throw damaged(`"${path}" is not what it was`);
  }

  #block(index: number): Promise<Buffer> {
    if (this.#last?.index !== index) {
      this.#last = { index, bytes: this.#blocks.block(index) };
    }
    return this.#last.bytes;
  }
}

type Opened = Blocks & Readonly<{ manifest: CompleteManifest }>;

async function readIndexed(handle: FileHandle, index: BlockIndex): Promise<Opened> {
  const { block_bytes: blockBytes, blocks } = index;
  const ends = (await handle.stat()).size - TRAILER_BYTES;
  const block = async (i: number): Promise<Buffer> => {
    const [begin, end] = [blocks[i] ?? ends, blocks[i + 1] ?? ends];
    const deflated = Buffer.alloc(Math.max(0, end - begin) + FINAL_BLOCK.length);
    const { bytesRead } = await handle.read(
      deflated,
      0,
      deflated.length - FINAL_BLOCK.length,
      begin,
    );
    FINAL_BLOCK.copy(deflated, bytesRead);
    return inflated(inflate(deflated.subarray(0, bytesRead + 2), { maxOutputLength: blockBytes }));
  };
  const manifest = parse(await readManifest(block));
  const begins = {
    source: new Map(manifest.entries.map(({ path }, i) => [path, index.entries[i]])),
    artifacts: new Map(manifest.artifacts.map(({ path }, i) => [path, index.artifacts[i]])),
  };
  return { blockBytes, block, beginOf: (folder, path) => begins[folder].get(path), manifest };
}

/** The manifest comes first. */
async function readManifest(block: (index: number) => Promise<Buffer>): Promise<Buffer> {
  let tar = Buffer.alloc(0);
  for (let i = 0; ; i++) {
    const next = await block(i);
    if (next.length === 0) throw damaged('it ends before its manifest does');
    tar = Buffer.concat([tar, next]);
    const entry = readPlainEntry(tar, 0);
    if (entry?.path !== MANIFEST) throw damaged('its manifest is not first');
    const end = entry.begin + entry.size;
    if (end > MANIFEST_BYTES) throw damaged('its manifest is too large');
    if (tar.length >= end) return tar.subarray(entry.begin, end);
  }
}

async function readWhole(handle: FileHandle): Promise<Opened> {
  const { size } = await handle.stat();
  if (size > WHOLE_BYTES) throw damaged('it is large, and nothing says where its blocks are');
  const archive = Buffer.alloc(size);
  const { bytesRead } = await handle.read(archive, 0, size, 0);
  const tar = await inflated(
    unzip(archive.subarray(0, bytesRead), { maxOutputLength: WHOLE_BYTES }),
  );
  const begins = new Map<string, number>();
  let manifest: CompleteManifest | null = null;
  for (let at = 0; at < tar.length && tar[at] !== 0; ) {
    const entry = readPlainEntry(tar, at);
    if (entry === null) throw damaged('it is no archive of ours');
    if (at === 0) manifest = parse(tar.subarray(entry.begin, entry.begin + entry.size));
    begins.set(entry.path, entry.begin);
    at = entry.end;
  }
  if (manifest === null) throw damaged('it is empty');
  const beginOf = (folder: Folder, path: string) => begins.get(entryNameOf({ folder, path }));
  return { blockBytes: tar.length, block: async () => tar, beginOf, manifest };
}

async function inflated(work: Promise<Buffer>): Promise<Buffer> {
  try {
    return await work;
  } catch (error) {
    throw damaged((error as Error).message, error);
  }
}

function parse(text: Buffer): CompleteManifest {
  return checkComplete(parseManifest(text.toString('utf8'), MANIFEST));
}
