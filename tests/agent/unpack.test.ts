/** An archive is unpacked whole, and read file by file: each as its manifest says, or not at all. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ArchiveReader } from '../../node-agent/archive/archive-reader.ts';
import type { BlockIndex } from '../../node-agent/archive/pack.ts';
import { tarEnd } from '../../node-agent/archive/tar.ts';
import { type UnpackInput, unpackArchive } from '../../node-agent/archive/unpack.ts';
import { DEFAULT_LIMITS, digestText } from '../../node-agent/contract.ts';
import {
  ARTIFACTS,
  entriesOf,
  filesOf,
  hash,
  manifestFor,
  pack,
  SOURCE,
} from '../support/own-tar.ts';
import { openTestStorage, settled } from '../support/storage.ts';
import { makeTar, type TarEntry } from '../support/tar.ts';
import { tempFolder } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

const MANIFEST = '.codebegen/manifest.json';
const LOG = '.codebegen/artifacts/log.txt';

/** The manifest first, as in an archive. */
function archiveOf(
  manifest: unknown = manifestFor(),
  change = (files: Map<string, string | Buffer>) => files,
) {
  const files = change(filesOf(manifest));
  const text = files.get(MANIFEST);
  files.delete(MANIFEST);
  return pack(new Map([...(text === undefined ? [] : [[MANIFEST, text] as const]), ...files]));
}

async function unpack(tar: Buffer, options: Partial<UnpackInput> = {}) {
  const around = await tempFolder();
  const archive = join(around, 'archive');
  writeFileSync(archive, options.isLaidDown === true ? tar : gzipSync(tar));
  const folder = join(around, 'unpacked');
  const input = { archive, folder, limits: DEFAULT_LIMITS, trusted: false, ...options };
  return { folder, unpacked: await unpackArchive(input) };
}

describe('unpacked', () => {
  const bytes = [...Object.values(SOURCE), ...Object.values(ARTIFACTS)].reduce(
    (sum, content) => sum + Buffer.byteLength(content),
    0,
  );

  test.each<[string, Buffer, Partial<UnpackInput>]>([
    ['an archive of ours', archiveOf(), {}],
    ['a tar that a save laid down', pack(filesOf()), { isLaidDown: true }],
    ['an archive whose hash is known', archiveOf(), { trusted: true }],
  ])('%s has every file, and its manifest', async (_, tar, options) => {
    const { folder, unpacked } = await unpack(tar, options);
    const tree = readTree(folder);
    const { 'manifest.json': manifest, ...files } = tree;
    const hashes = Object.fromEntries(
      Object.entries(files).map(([path, content]) => [path, hash(content)]),
    );
    const named = (kind: string, of: Record<string, string | Buffer>) =>
      Object.entries(of).map(([path, content]) => [`${kind}/${path}`, hash(content)]);
    expect(hashes).toEqual(
      Object.fromEntries([...named('source', SOURCE), ...named('artifacts', ARTIFACTS)]),
    );
    expect(JSON.parse(String(manifest))).toEqual(manifestFor());
    const { digest } = manifestFor();
    expect(unpacked).toEqual({ manifest: manifestFor(), files: 4, bytes, digest });
  });

  test('a mode counts in the digest, with what its owner can always do; the files are for the owner alone', async () => {
    const entry = (name: string, mode: string): TarEntry => ({
      ...{ name, content: 'x' },
      change: (header) => header.write(`${mode}\0`, 100),
    });
    const { entries: _, artifacts: __, digest: ___, ...old } = manifestFor();
    const content = JSON.stringify({ ...old, files: ['run', 'locked'] });
    const tar = makeTar([
      { name: MANIFEST, content },
      entry('run', '0000755'),
      entry('locked', '0000044'),
    ]);
    const { folder, unpacked } = await unpack(tar);
    const found = entriesOf({ run: 'x', locked: 'x' });
    const modes = [0o755, 0o644];
    const digest = hash(digestText(found.map((file, i) => ({ ...file, mode: modes[i]! }))));
    expect(unpacked.digest).toBe(digest);
    const modeOf = (path: string) => statSync(join(folder, path)).mode & 0o777;
    expect(['source/run', 'source/locked', 'manifest.json', ''].map(modeOf)).toEqual([
      ...[0o700, 0o600, 0o600, 0o700],
    ]);
  });

  test('of the Python system what its manifest names is there, and what is reserved passed over', async () => {
    const { entries: _, artifacts: __, digest: ___, ...old } = manifestFor();
    const content = JSON.stringify({ ...old, files: ['a', '.codebegen/x'] });
    const tar = makeTar([
      { name: 'v1__g/', type: '5' },
      { name: 'v1__g/manifest.json', content },
      { name: 'v1__g/source/a', content: 'a' },
      { name: 'v1__g/source/.codebegen/x', content: 'x' },
      { name: 'v1__g/artifacts/b', content: 'b' },
    ]);
    const { folder, unpacked } = await unpack(tar);
    expect(Object.keys(readTree(folder)).sort()).toEqual([
      'artifacts/b',
      'manifest.json',
      'source/a',
    ]);
    expect(unpacked).toMatchObject({ files: 1, bytes: 2 });
  });

  const changed = (name: string, content: string) => (files: Map<string, string | Buffer>) =>
    files.set(name, content);
  const removed = (name: string) => (files: Map<string, string | Buffer>) => {
    files.delete(name);
    return files;
  };
  test.each<[string, Buffer, string, string]>([
    ['without a manifest', pack(new Map([['v1__g/source/a', 'a']])), 'corrupt', 'no manifest'],
    ['with other content', archiveOf(undefined, changed('empty', 'x')), 'corrupt', '"empty"'],
    [
      'with other content of one size',
      archiveOf(undefined, changed('app/main.py', 'print(2)\n')),
      'corrupt',
      'main.py',
    ],
    ['that lacks a file', archiveOf(undefined, removed('empty')), 'corrupt', 'source/'],
    ['with a file more', archiveOf(undefined, changed('more', 'x')), 'corrupt', 'source/'],
    ['that lacks an artifact', archiveOf(undefined, removed(LOG)), 'corrupt', 'artifacts/'],
    ['with another artifact', archiveOf(undefined, changed(LOG, 'x')), 'corrupt', 'log.txt'],
    [
      'whose manifest names others',
      archiveOf({ ...manifestFor(), files: ['a'] }),
      'corrupt',
      'hashes',
    ],
    [
      'whose old manifest names others',
      archiveOf({ ...manifestFor(), entries: undefined, files: ['a', 'b'] }),
      'corrupt',
      '"a"',
    ],
    [
      'with a link',
      makeTar([
        { name: MANIFEST, content: JSON.stringify(manifestFor()) },
        { name: 'l', type: '2', linkName: 'x' },
      ]),
      'invalid_input',
      '"l"',
    ],
  ])('one %s is refused', async (_, tar, code, named) => {
    await expect(unpack(tar)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(named),
    });
  });

  test('as much as may be is taken, and no byte more', async () => {
    const limits = { ...DEFAULT_LIMITS, totalBytes: bytes, fileBytes: SOURCE.LARGE.length };
    expect((await unpack(archiveOf(), { limits })).unpacked.bytes).toBe(bytes);
    for (const less of [{ totalBytes: bytes - 1 }, { fileBytes: SOURCE.LARGE.length - 1 }]) {
      const folder = join(await tempFolder(), 'new');
      const unpacking = unpack(archiveOf(), { folder, limits: { ...limits, ...less } });
      await expect(unpacking).rejects.toMatchObject({ code: 'too_large' });
      // Before a byte of it was written.
      expect(existsSync(join(folder, 'source/LARGE'))).toBe(less.fileBytes === undefined);
    }
  });

  test('folders are counted, as all else is', async () => {
    const folders = Array.from({ length: 3 }, (_, i) => ({ name: `d${i}/`, type: '5' }));
    const manifest = { name: MANIFEST, content: JSON.stringify(manifestFor()) };
    const limits = { ...DEFAULT_LIMITS, entries: 2 };
    await expect(unpack(makeTar([manifest, ...folders]), { limits })).rejects.toMatchObject({
      code: 'too_large',
    });
  });

  test('what deflates very well is a bomb, unless its hash is known', async () => {
    const zeros = Buffer.alloc(65 * 1024 * 1024);
    const entries = entriesOf({ zeros });
    const { artifacts: _, digest: __, ...rest } = manifestFor();
    const files = new Map<string, string | Buffer>([
      [MANIFEST, JSON.stringify({ ...rest, files: ['zeros'], entries })],
      ['zeros', zeros],
    ]);
    await expect(unpack(pack(files))).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('250 times its size'),
    });
    expect((await unpack(pack(files), { trusted: true })).unpacked.files).toBe(1);
  });
});

describe('read file by file', () => {
  const random = Buffer.alloc(700_000);
  let state = 1;
  for (let i = 0; i < random.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    random[i] = state >>> 24;
  }
  const FILES = { small: 'x', empty: '', text: 'all work and no play\n'.repeat(60_000), random };

  /** An archive with an index, as a save makes it. */
  async function indexed() {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
    const facts = JSON.parse(readFileSync(join(receipt.path, 'archive.json'), 'utf8'));
    return {
      archive: readFileSync(join(receipt.path, 'archive.tar.gz')),
      index: facts.block_index as BlockIndex,
    };
  }

  async function openReader(archive: Buffer, index: BlockIndex | null) {
    const file = join(await tempFolder(), 'archive');
    writeFileSync(file, archive);
    const handle = await open(file, 'r');
    return { reader: ArchiveReader.open(handle, index), handle, file };
  }

  async function contentOf(reader: ArchiveReader, path: string, folder?: 'artifacts') {
    const pieces: Buffer[] = [];
    for await (const piece of reader.read(path, folder)) pieces.push(Buffer.from(piece));
    return hash(Buffer.concat(pieces));
  }

  test('one with an index: each file, by the blocks that it lies in', async () => {
    const { archive, index } = await indexed();
    expect(index.blocks.length).toBeGreaterThan(4);
    const { reader, handle } = await openReader(archive, index);
    await using _ = handle;
    const opened = await reader;
    for (const [path, content] of Object.entries(FILES)) {
      expect(await contentOf(opened, path), path).toBe(hash(content));
    }
    await opened.check();
  });

  test('one without: each file, of either folder', async () => {
    const { reader, handle } = await openReader(gzipSync(archiveOf()), null);
    await using _ = handle;
    const opened = await reader;
    for (const [path, content] of Object.entries(SOURCE)) {
      expect(await contentOf(opened, path), path).toBe(hash(content));
    }
    expect(await contentOf(opened, 'log.txt', 'artifacts')).toBe(hash(ARTIFACTS['log.txt']));
    await opened.check();
  });

  test.each<[string, (archive: Buffer, index: BlockIndex) => [Buffer, BlockIndex | null]]>([
    ['an index that lacks a file', (archive, index) => [archive, { ...index, entries: [] }]],
    [
      'an index that has files elsewhere',
      (archive, index) => [archive, { ...index, entries: index.entries.map((at) => at + 1) }],
    ],
    [
      'an index that has them behind the end',
      (archive, index) => [archive, { ...index, entries: index.entries.map((at) => at + 2 ** 31) }],
    ],
    ['an index without blocks', (archive, index) => [archive, { ...index, blocks: [] }]],
    [
      'an index with other blocks',
      (archive, index) => [archive, { ...index, blocks: index.blocks.map((at) => at + 1) }],
    ],
    [
      'an index that lacks its last block',
      (archive, index) => [archive, { ...index, blocks: index.blocks.slice(0, -1) }],
    ],
    ['its end cut off', (archive, index) => [archive.subarray(0, archive.length >> 1), index]],
    [
      'a byte changed',
      (archive, index) => {
        const copy = Buffer.from(archive);
        copy[copy.length - 5000]! ^= 1;
        return [copy, index];
      },
    ],
    ['garbage', (_, index) => [Buffer.alloc(5000, 'x'), index]],
    ['garbage, and no index', () => [Buffer.alloc(5000, 'x'), null]],
    ['nothing in it', () => [gzipSync(tarEnd()), null]],
    ['a file of no save first', () => [gzipSync(pack(new Map([['a', 'a']]))), null]],
    ['no tar in it', () => [gzipSync(Buffer.alloc(2048, 'x')), null]],
    [
      'a manifest without hashes',
      () => [gzipSync(archiveOf({ ...manifestFor(), digest: undefined })), null],
    ],
    [
      'other content',
      () => [
        gzipSync(archiveOf(undefined, (files) => files.set('app/main.py', 'print(2)\n'))),
        null,
      ],
    ],
    [
      'a file missing',
      () => {
        const lacking = archiveOf(undefined, (files) => {
          files.delete('app/main.py');
          return files;
        });
        return [gzipSync(lacking), null];
      },
    ],
  ])('one with %s is corrupt', async (_, spoil) => {
    const whole = await indexed();
    const { reader, handle } = await openReader(...spoil(whole.archive, whole.index));
    await using __ = handle;
    await expect(reader.then((opened) => opened.check())).rejects.toMatchObject({
      code: 'corrupt',
    });
  });

  test('one whose manifest does not come first is not ours, with an index too', async () => {
    const { archive, index } = await indexed();
    const tar = gunzipSync(archive);
    expect(tar.toString('latin1', 0, MANIFEST.length)).toBe(MANIFEST);
    const { reader, handle } = await openReader(gzipSync(pack(filesOf())), {
      ...index,
      blocks: [10],
    });
    await using _ = handle;
    await expect(reader).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('a large one without an index is not unpacked into memory', async () => {
    const { reader, handle, file } = await openReader(gzipSync(archiveOf()), null);
    await (await reader).check();
    await truncate(file, 32 * 1024 * 1024 + 1);
    await using _ = handle;
    await expect(ArchiveReader.open(handle, null)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('large'),
    });
  });
});
