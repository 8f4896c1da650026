/** The tar that a save lays down, read by both of its readers: whole, or refused. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkItself } from '../../node-agent/archive/own-manifest.ts';
import { StoredTar } from '../../node-agent/archive/stored-tar.ts';
import { tarEnd } from '../../node-agent/archive/tar.ts';
import { TarReader } from '../../node-agent/archive/tar-reader.ts';
import {
  type CompleteManifest,
  DEFAULT_LIMITS,
  digestText,
  entryNameOf,
  type ManifestEntry,
} from '../../node-agent/contract.ts';
import { filesOf, hash, manifestFor, pack } from '../support/own-tar.ts';
import { tempFolder } from '../support/temp.ts';

const MAIN = 'app/main.py';
const MANIFEST = '.codebegen/manifest.json';

type Contents = Record<string, string>;

async function readBySync(file: string): Promise<Contents> {
  const fd = openSync(file, 'r');
  try {
    const tar = new StoredTar(fd);
    tar.check();
    const read = (folder: 'source' | 'artifacts', { path }: ManifestEntry) => {
      const pieces: Buffer[] = [];
      // Each piece is good until the next.
      for (const piece of tar.read(folder, path)) pieces.push(Buffer.from(piece));
      return [entryNameOf({ folder, path }), hash(Buffer.concat(pieces))];
    };
    const { entries, artifacts } = tar.manifest;
    return Object.fromEntries([
      ...entries.map((entry) => read('source', entry)),
      ...artifacts.map((entry) => read('artifacts', entry)),
    ]);
  } finally {
    closeSync(fd);
  }
}

async function readByAsync(file: string): Promise<Contents> {
  await using handle = await open(file, 'r');
  const tar = await TarReader.open(handle);
  const contents: Contents = {};
  for (const folder of ['source', 'artifacts'] as const) {
    const entries = folder === 'source' ? tar.manifest.entries : tar.manifest.artifacts;
    for (const { path } of entries) {
      // Pieces may be kept.
      const pieces: Buffer[] = [];
      for await (const piece of tar.read(path, folder)) pieces.push(piece);
      contents[entryNameOf({ folder, path })] = hash(Buffer.concat(pieces));
    }
  }
  return contents;
}

const without = (name: string) => {
  const files = filesOf();
  files.delete(name);
  return files;
};
describe.each([
  ['who waits for the disk', readBySync],
  ['who does not', readByAsync],
])('by one %s', (_, read) => {
  const readTar = async (tar: Buffer) => {
    const file = join(await tempFolder(), 'tar');
    writeFileSync(file, tar);
    return read(file);
  };

  test('each file is read, from either folder, in any order', async () => {
    const expected = Object.fromEntries(
      [...filesOf()].filter(([name]) => name !== MANIFEST).map(([name, c]) => [name, hash(c)]),
    );
    expect(await readTar(pack(filesOf()))).toEqual(expected);
    expect(await readTar(pack(new Map([...filesOf()].reverse())))).toEqual(expected);
  });

  test.each<[string, () => Buffer, string]>([
    ['is empty', () => Buffer.alloc(0), 'no whole tar'],
    ['has but its end', () => tarEnd(), 'no manifest'],
    ['has no end', () => pack(filesOf(), Buffer.alloc(0)), 'no whole tar'],
    ['has half a block as its end', () => pack(filesOf(), Buffer.alloc(100)), 'no whole tar'],
    ['is cut off in a file', () => pack(filesOf()).subarray(0, 2000), 'no whole tar'],
    ['has no manifest', () => pack(without(MANIFEST)), 'no manifest'],
    ['has one that is none', () => pack(filesOf().set(MANIFEST, '{')), 'not JSON'],
    [
      'has one without hashes',
      () => pack(filesOf({ ...manifestFor(), entries: undefined })),
      'no hashes',
    ],
    ['lacks a file', () => pack(without(MAIN)), 'more or less'],
    ['has a file more', () => pack(filesOf().set('more', '')), 'more or less'],
    ['has another file in its place', () => pack(without(MAIN).set('other', '')), `"${MAIN}"`],
    [
      'has another artifact in its place',
      () => pack(without('.codebegen/artifacts/log.txt').set('.codebegen/artifacts/x', '')),
      'log.txt',
    ],
    ['has other content', () => pack(filesOf().set(MAIN, 'print(2)\n')), `"${MAIN}"`],
    ['has more content', () => pack(filesOf().set(MAIN, 'print(1)\n\n')), `"${MAIN}"`],
    ['has no content', () => pack(filesOf().set(MAIN, '')), `"${MAIN}"`],
    ['has content where there is none', () => pack(filesOf().set('empty', 'x')), '"empty"'],
  ])('one that %s is refused', async (_, make, named) => {
    await expect(readTar(make())).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(named),
    });
  });

  test('one that gets shorter while it is read ends too early', async () => {
    const tar = pack(filesOf());
    const file = join(await tempFolder(), 'tar');
    writeFileSync(file, tar);
    await using handle = await open(file, 'r+');
    const isSync = read === readBySync;
    const reader = isSync ? new StoredTar(handle.fd) : await TarReader.open(handle);
    await handle.truncate(1000);
    const reading = async () => {
      if (reader instanceof StoredTar) reader.check();
      else for await (const _ of reader.read('LARGE'));
    };
    await expect(reading()).rejects.toMatchObject({ code: 'corrupt' });
  });
});

describe('what a manifest says of itself', () => {
  const entry = (path: string, size = 1) => ({ path, size, sha256: hash('x'), mode: 0o644 });

  function manifest(change: Partial<CompleteManifest>): CompleteManifest {
    const whole = { ...manifestFor(), ...change };
    const files = change.files ?? whole.entries.map(({ path }) => path);
    const digest = change.digest ?? hash(digestText(whole.entries, whole.artifacts));
    return { ...whole, files, digest };
  }

  test.each<[string, Partial<CompleteManifest>, string]>([
    ['a path that climbs out', { entries: [entry('../x')] }, 'invalid_input'],
    ['an artifact that does', { artifacts: [entry('../x')] }, 'invalid_input'],
    ['a path twice', { entries: [entry('a'), entry('A')] }, 'invalid_input'],
    ['a file without a hash', { files: [...manifestFor().files, 'more'] }, 'corrupt'],
    ['a hash without a file', { files: manifestFor().files.slice(1) }, 'corrupt'],
    ['one file in the place of another', { entries: [entry('a')], files: ['b'] }, 'corrupt'],
    [
      'one file twice in the place of two',
      { entries: [entry('a'), entry('b')], files: ['a', 'a'] },
      'corrupt',
    ],
    ['the digest of others', { digest: hash('x') }, 'corrupt'],
    ['more than may be', { entries: [entry('a', DEFAULT_LIMITS.totalBytes)] }, 'too_large'],
  ])('%s is %s', (_, change, code) => {
    expect(() => checkItself(manifest(change), DEFAULT_LIMITS)).toThrow(
      expect.objectContaining({ code }),
    );
  });

  test('as much as may be is taken, in any order of its files', () => {
    const { artifacts } = manifestFor();
    const rest = artifacts.reduce((sum, { size }) => sum + size, 0);
    const most = manifest({ entries: [entry('a', DEFAULT_LIMITS.totalBytes - rest)] });
    expect(() => checkItself(most, DEFAULT_LIMITS)).not.toThrow();
    const reversed = manifest({ files: manifestFor().files.reverse() });
    expect(() => checkItself(reversed, DEFAULT_LIMITS)).not.toThrow();
  });
});
