/** A zip is made as it streams: what readers take from it, and how much of it is in memory. */
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import yauzl from 'yauzl';
import { type ZipFile, zipFiles } from '../../functions/_shared/zip.ts';

const MTIME = new Date('2026-03-04T05:06:08Z');
const PIECE_BYTES = 64 * 1024;
const AT_ONCE_BYTES = 256 * 1024;

/** Bytes that do not deflate, the same in every run. */
function noise(length: number): Buffer {
  const pieces: Buffer[] = [];
  for (let i = 0; i * 32 < length; i++) pieces.push(createHash('sha256').update(`${i}`).digest());
  return Buffer.concat(pieces).subarray(0, length);
}

async function* cut(content: Buffer, bytes = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += bytes) yield content.subarray(at, at + bytes);
}

const file = (name: string, content: Buffer | string, mode = 0o644): ZipFile => {
  const bytes = Buffer.from(content);
  return { name, size: bytes.length, mode, body: cut(bytes) };
};

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function piecesOf(files: readonly ZipFile[]): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const piece of zipFiles(each(files), MTIME)) pieces.push(piece);
  return pieces;
}

/** What another reader finds. */
async function read(zip: Buffer) {
  const open = promisify<Buffer, yauzl.Options, yauzl.ZipFile>(yauzl.fromBuffer);
  const opened = await open(zip, { lazyEntries: true });
  const found: { entry: yauzl.Entry; content: Buffer }[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<typeof found>();
  opened.on('error', reject).on('end', () => resolve(found));
  opened.on('entry', async (entry: yauzl.Entry) => {
    try {
      const stream = await promisify(opened.openReadStream.bind(opened, entry))();
      const pieces: Buffer[] = [];
      for await (const piece of stream as AsyncIterable<Buffer>) pieces.push(piece);
      found.push({ entry, content: Buffer.concat(pieces) });
      opened.readEntry();
    } catch (error) {
      reject(error);
    }
  });
  opened.readEntry();
  return promise;
}

const CONTENTS: Record<string, Buffer> = {
  empty: Buffer.alloc(0),
  'src/small.txt': Buffer.from('small\n'),
  'text.txt': Buffer.from('all work and no play\n'.repeat(5000)),
  'at once': noise(AT_ONCE_BYTES),
  'as it comes': noise(AT_ONCE_BYTES + 1),
  'ünï/文件': noise(700_000),
};

test('each file has its name, its content and its mode, of Unix, and is deflated', async () => {
  const modes = [0o644, 0o755, 0o600, 0o640, 0o777, 0o444];
  const files = Object.entries(CONTENTS).map(([name, content], i) => file(name, content, modes[i]));
  const found = await read(Buffer.concat(await piecesOf(files)));
  expect(found.map(({ entry }) => entry.fileName)).toEqual(Object.keys(CONTENTS));
  for (const { entry, content } of found) {
    expect(content.equals(CONTENTS[entry.fileName]!), entry.fileName).toBe(true);
    expect(entry.uncompressedSize).toBe(content.length);
    expect(entry.compressionMethod).toBe(8);
    expect(entry.versionMadeBy >> 8).toBe(3);
    expect(entry.getLastModDate({ timezone: 'UTC' }).getUTCFullYear()).toBe(2026);
  }
  const attributes = found.map(({ entry }) => entry.externalFileAttributes >>> 16);
  expect(attributes).toEqual(modes.map((mode) => 0o100000 | mode));
  const text = found.find(({ entry }) => entry.fileName === 'text.txt')!;
  expect(text.entry.compressedSize).toBeLessThan(text.content.length / 50);
});

test('of nothing it is a zip too', async () => {
  expect(await read(Buffer.concat(await piecesOf([])))).toEqual([]);
});

test('its pieces are not small, but for the last, and not all of it', async () => {
  for (const [files, most] of [
    // Many small ones: what is deflated at once comes after each.
    [Array.from({ length: 200 }, (_, i) => file(`f${i}`, noise(2000))), 2 * PIECE_BYTES],
    [[file('large', noise(2_000_000))], 4 * PIECE_BYTES],
  ] as const) {
    const pieces = await piecesOf(files);
    expect(pieces.length).toBeGreaterThan(3);
    for (const piece of pieces.slice(0, -1)) {
      expect(piece.length).toBeGreaterThanOrEqual(PIECE_BYTES);
      expect(piece.length).toBeLessThan(most);
    }
  }
});

test('nothing is read ahead of who takes it, and who stops ends what is read', async () => {
  let read = 0;
  let ended = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        read++;
        yield noise(PIECE_BYTES);
      }
    } finally {
      ended = true;
    }
  }
  const files = each([{ name: 'a', size: Number.MAX_SAFE_INTEGER, mode: 0o644, body: endless() }]);
  const reader = zipFiles(files, MTIME).getReader();
  expect((await reader.read()).value!.length).toBeGreaterThanOrEqual(PIECE_BYTES);
  const before = read;
  expect(before).toBeLessThan(8);
  await reader.cancel();
  expect([read, ended]).toEqual([before, true]);
});

test('what breaks off while it is read breaks the zip off', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield noise(1000);
    throw new Error('broke off');
  }
  for (const size of [2000, 2_000_000]) {
    const making = piecesOf([{ name: 'a', size, mode: 0o644, body: broken() }]);
    await expect(making).rejects.toThrow('broke off');
  }
});
