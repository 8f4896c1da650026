/** One rule, every door: names and limits hold wherever files come in, or old ones are read. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS, type Limits } from '../../node-agent/contract.ts';
import { openStorage, type Storage } from '../../node-agent/index.ts';
import { PythonStore } from '../support/python-store.ts';
import { openTestStorage, testCache } from '../support/storage.ts';
import { makeTar, paxPath } from '../support/tar.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree } from '../support/tree.ts';

type Files = readonly (readonly [path: string, content: string])[];
type Door = (storage: Storage, storePath: string, files: Files) => Promise<unknown>;

const PROJECT = { projectId: 'p' };
const pieces = async function* (bytes: Buffer) {
  yield bytes;
};

/** How files get in. */
const DOORS: Record<string, Door> = {
  files: (storage, _, files) => storage.save({ ...PROJECT, files: new Map(files) }),
  JSON: (storage, _, files) => {
    const members = files.map((file) => file.map((text) => JSON.stringify(text)).join(':'));
    const bytes = Buffer.from(`{"project_id":"p","files":{${members.join()}}}`);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    return storage.saveJson(shared, 'request');
  },
  'a writer': async (storage, _, files) => {
    const writer = storage.writer(PROJECT);
    try {
      for (const [path, content] of files) await writer.write(path, content);
      return await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  },
  'a tar': (storage, _, files) =>
    storage.saveTar({
      ...PROJECT,
      tar: pieces(
        makeTar(files.flatMap(([path, content]) => [paxPath(path), { name: 'n', content }])),
      ),
    }),
  'an old manifest': (storage, storePath, files) => {
    const ref = { ...PROJECT, version: 1, generationId: 'g' };
    const folder = new PythonStore(storePath).versioned(ref, { 'there.py': 'x' });
    const manifest = {
      ...{ generation_id: 'g', project_id: 'p', version: 1, created_at: '2024-05-01T10:00:00' },
      ...{ file_count: files.length, total_size_bytes: 1, metadata: {} },
      files: files.map(([path]) => path),
    };
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
    return storage.adopt(ref);
  },
};

/** Doors that take names from what others made; a folder has those that its file system allows. */
const FOLDER: Door = async (storage, _, files) => {
  const folder = await tempFolder();
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return storage.saveFolder({ ...PROJECT, folder });
};
const FLAT: Door = async (storage, storePath, files) => {
  new PythonStore(storePath).flat('p', Object.fromEntries(files));
  return storage.adopt({ ...PROJECT, version: 1, generationId: 'p' });
};

async function open(limits: Limits = DEFAULT_LIMITS) {
  const around = await tempFolder();
  const storePath = join(around, 'a/store');
  mkdirSync(storePath, { recursive: true });
  return { around, storePath, storage: await openTestStorage({ storePath, limits }) };
}

/** Nothing outside, nothing staged, no generation of ours. */
function expectNothing(around: string): void {
  const left = listTree(around).filter(
    (name) => /staging\/[^/]+\/./.test(name) || /archive\.tar\.gz$/.test(name),
  );
  expect(left).toEqual([]);
  expect(listTree(around).filter((name) => !name.startsWith('a'))).toEqual([]);
}

const HOSTILE = [
  ...['../out', '../../out', 'a/../../out', '/abs', '/', '', '.', '..', 'a/./b', 'a//b', 'a/'],
  ...['C:/x', 'a\\b', '..\\out', 'a\u0001b', 'a\u007fb', 'a\u0085b', 'n'.repeat(256)],
  ...[`${'p/'.repeat(513)}x`, `${'é'.repeat(128)}`],
];

describe.each(Object.entries(DOORS))('through %s', (name, door) => {
  test.each(HOSTILE)('a file named %j is refused by name', async (path) => {
    const { around, storePath, storage } = await open();
    const error = await door(storage, storePath, [
      ['fine', 'x'],
      [path, 'x'],
    ]).then(
      () => null,
      (reason: { code: string; message: string }) => reason,
    );
    // A slash at the end makes a folder of a tar's entry.
    const isFolder = name === 'a tar' && /\/$/.test(path);
    expect(['invalid_input', 'corrupt'], `${error?.message}`).toContain(error?.code);
    if (!isFolder)
      expect(error?.message).toContain(JSON.stringify(path.slice(0, 200)).slice(1, -1));
    expectNothing(around);
  });

  test.each([
    [['a', 'A']],
    [['caf\u00e9', 'cafe\u0301']],
    [['x', 'x/y']],
    [['x/y', 'x']],
    [['Src/a', 'src/b']],
  ])('files whose names clash, %j, are refused', async (paths) => {
    const { around, storePath, storage } = await open();
    const files = paths.map((path) => [path, 'x'] as const);
    await expect(door(storage, storePath, files)).rejects.toMatchObject({
      code: expect.stringMatching(/invalid_input|corrupt/),
    });
    expectNothing(around);
  });
});

const LIMITED = { ...DEFAULT_LIMITS, files: 5, entries: 12, fileBytes: 100, totalBytes: 300 };
const content = 'x'.repeat(90);
const OVER: [string, Files][] = [
  ['too many files', Array.from({ length: 6 }, (_, i) => [`f${i}`, ''])],
  ['a file that is too large', [['large', 'x'.repeat(101)]]],
  ['too many bytes in all', Array.from({ length: 4 }, (_, i) => [`f${i}`, content])],
  ['too many folders', [['a/b/c/d/e/f/g/h/i/j/k/l/m', '']]],
];

describe.each(Object.entries({ ...DOORS, 'a folder': FOLDER, 'a flat project': FLAT }))(
  'through %s',
  (name, door) => {
    test.each(OVER.filter(([what]) => name !== 'an old manifest' || what === 'too many files'))(
      '%s are too large',
      async (_, files) => {
        const { around, storePath, storage } = await open(LIMITED);
        await expect(door(storage, storePath, files)).rejects.toMatchObject({
          code: name === 'an old manifest' ? expect.any(String) : 'too_large',
        });
        expectNothing(around);
      },
    );
  },
);

test('what is refused at a door leaves the store as open as before', async () => {
  const storePath = await tempFolder();
  const storage = await openStorage({
    ...{ storePath, cloud: null, uploadConcurrency: 1, cleanupEveryMs: null },
    cache: await testCache(),
  });
  for (const door of Object.values(DOORS).slice(0, 4)) {
    await expect(door(storage, storePath, [['../out', 'x']])).rejects.toThrow();
    expect(await door(storage, storePath, [['in', 'x']])).toMatchObject({ fileCount: 1 });
  }
  await storage.close();
});
