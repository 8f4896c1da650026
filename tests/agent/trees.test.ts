/** The archive is the generation: its tree is a view, laid out where a path is asked for. */
import {
  existsSync,
  promises,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Receipt } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import {
  openTestStorage,
  settled,
  testCache,
  testCloud,
  waitForStatus,
} from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

const FILES = { 'app/main.py': 'print(1)', 'README.md': '# shop' };
const HOUR = 3_600_000;

const namesIn = ({ path }: Pick<Receipt, 'path'>) => readdirSync(path).sort();
const textsIn = ({ path }: Pick<Receipt, 'path'>) => readTexts(join(path, 'source'));

async function saved(files: Record<string, string> = FILES) {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  const receipt = await settled(storage, storage.save({ projectId: 'p', files }));
  return { storePath, storage, receipt };
}

test('a save is its archive and nothing else; whoever asks for a path gets the tree', async () => {
  const { storage, receipt } = await saved();
  expect(namesIn(receipt)).toEqual(['archive.json', 'archive.tar.gz']);
  const got = await storage.get(receipt);
  expect(readTexts(got.sourcePath)).toEqual(FILES);
  expect(got.manifest).toMatchObject({ digest: receipt.digest, project_id: 'p' });
  expect(namesIn(receipt)).toEqual(
    ['archive.json', 'archive.tar.gz', 'manifest.json', 'source', 'tree.json'].sort(),
  );
});

test('a tree is there with the answer where that is asked for', async () => {
  const storage = await openTestStorage();
  const receipt = await storage.save({ projectId: 'p', files: FILES, tree: 'now' });
  expect(textsIn(receipt)).toEqual(FILES);
  // Saved again it may have gone meanwhile.
  rmSync(join(receipt.path, 'tree.json'));
  rmSync(join(receipt.path, 'source'), { recursive: true });
  await storage.save({ ...receipt, files: FILES, tree: 'now' });
  expect(textsIn(receipt)).toEqual(FILES);
  const wrong = storage.save({ projectId: 'p', files: FILES, tree: 'soon' as 'now' });
  await expect(wrong).rejects.toMatchObject({ code: 'invalid_input' });
});

test.each([
  ['another run of the machine', { boot: 'before' }],
  ['another file system', { device: -1 }],
  ['other content', { digest: 'f'.repeat(64) }],
])('a tree of %s is none: it is laid out anew', async (_, other) => {
  const { storage, receipt } = await saved();
  await storage.get(receipt);
  const file = join(receipt.path, 'tree.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...other }));
  writeFileSync(join(receipt.path, 'source/README.md'), 'lost');
  writeFileSync(join(receipt.path, 'source/left'), 'behind');
  expect(readTexts((await storage.get(receipt)).sourcePath)).toEqual(FILES);
});

test('half of what says that a tree is there, after a power loss, says nothing', async () => {
  const { storage, receipt } = await saved();
  await storage.get(receipt);
  truncateSync(join(receipt.path, 'tree.json'), 5);
  truncateSync(join(receipt.path, 'source/README.md'), 0);
  expect(readTexts((await storage.get(receipt)).sourcePath)).toEqual(FILES);
});

test('a manifest in a tree that is another is not believed', async () => {
  const { storage, receipt } = await saved();
  const { manifest } = await storage.get(receipt);
  const others = [{ digest: 'f'.repeat(64) }, { metadata: { other: 1 } }, { files: [] }];
  const texts = others.map((other) => JSON.stringify({ ...manifest, ...other }));
  for (const text of ['{', '', ...texts]) {
    writeFileSync(join(receipt.path, 'manifest.json'), text);
    expect((await storage.get(receipt)).manifest).toEqual(manifest);
  }
});

test('two processes that lay out one tree agree', async () => {
  const { storePath, storage, receipt } = await saved();
  const other = await openTestStorage({ storePath });
  const all = await Promise.all(
    [storage, other, storage, other].map((one) => one.get(receipt).then((got) => textsIn(got))),
  );
  for (const texts of all) expect(texts).toEqual(FILES);
});

test('a path that was handed out holds the new content after a replacement', async () => {
  const { storage, receipt } = await saved();
  const { sourcePath } = await storage.get(receipt);
  await storage.save({ ...receipt, files: { a: 'new' }, replace: true });
  expect(readTexts(sourcePath)).toEqual({ a: 'new' });
});

test('the active generation is read without us, also after it was replaced', async () => {
  const { storePath, storage, receipt } = await saved();
  await storage.activate(receipt);
  const active = join(storePath, 'p/generations/active/source');
  expect(readTexts(active)).toEqual(FILES);
  await storage.save({ ...receipt, files: { a: 'new' }, replace: true });
  expect(readTexts(active)).toEqual({ a: 'new' });
});

test('whoever copies while others replace gets one of the two, whole', async () => {
  const { storePath, storage, receipt } = await saved({ a: '0', b: '0' });
  let isDone = false;
  const replacing = (async () => {
    for (let i = 1; !isDone; i++) {
      const files = { a: `${i}`, b: `${i}`.repeat(9), c: `${i}` };
      await storage.save({ ...receipt, files, replace: true });
      await storage.get(receipt);
    }
  })();
  const folder = await tempFolder();
  for (let i = 0; i < 5; i++) {
    const to = join(folder, `${i}`);
    const ran = await runCli(['get', 'p', '1', '--to', to], { FILE_STORAGE_PATH: storePath });
    expect([ran.code, ran.stderr]).toEqual([0, '']);
    const { a, b } = readTexts(to);
    expect([a, b!.slice(0, a!.length)]).toEqual([a, a]);
  }
  isDone = true;
  await replacing;
});

test('a damaged archive is no loss where the cloud has it', async () => {
  const storage = await openTestStorage({ cloud: testCloud(uniqueId('bucket')) });
  const receipt = await storage.save({ projectId: uniqueId(), files: FILES });
  await waitForStatus(storage, receipt, 'verified');
  const archive = join(receipt.path, 'archive.tar.gz');
  writeFileSync(
    archive,
    readFileSync(archive).map((byte, i) => (i > 20 ? byte ^ 1 : byte)),
  );
  const got = await storage.get(receipt);
  expect([got.from, readTexts(got.sourcePath)]).toEqual(['cloud', FILES]);
});

test('a byte of the archive that is another is not served', async () => {
  const { storage, receipt } = await saved();
  const whole = readFileSync(join(receipt.path, 'archive.tar.gz'));
  flip(join(receipt.path, 'archive.tar.gz'), 60);
  await expect(storage.archive(receipt)).rejects.toMatchObject({ code: 'corrupt' });
  writeFileSync(join(receipt.path, 'archive.tar.gz'), whole);
  await storage.get(receipt);
  flip(join(receipt.path, 'archive.tar.gz'), 60);
  // There is a tree to make it of.
  expect(readFileSync((await storage.archive(receipt)).path)).toEqual(whole);
});

test.each([
  ['one byte of the archive', (path: string) => flip(join(path, 'archive.tar.gz'), 60)],
  ['the end of the archive', (path: string) => truncateSync(join(path, 'archive.tar.gz'), 90)],
  ['the archive', (path: string) => rmSync(join(path, 'archive.tar.gz'))],
])('saved again, what lost %s is whole', async (_, lose) => {
  const { storage, receipt } = await saved();
  lose(receipt.path);
  await storage.save({ ...receipt, files: FILES });
  for await (const { problems } of storage.verify()) expect(problems).toEqual([]);
  expect(readTexts((await storage.get(receipt)).sourcePath)).toEqual(FILES);
  expect((await storage.show(receipt)).digest).toBe(receipt.digest);
});

function flip(path: string, at: number): void {
  writeFileSync(
    path,
    readFileSync(path).map((byte, i) => (i === at ? byte ^ 1 : byte)),
  );
}

/** As if a tree had been asked for last so long ago. */
function age({ path }: Pick<Receipt, 'path'>, ms: number): void {
  const time = (Date.now() - ms) / 1000;
  utimesSync(join(path, 'tree.json'), time, time);
}

test('trees that nobody asked for go, never what is active or in use', async () => {
  const storePath = await tempFolder();
  const cache = await testCache({ maxAgeMs: 2 * HOUR });
  const storage = await openTestStorage({ storePath, cache });
  const all = [];
  for (let i = 0; i < 4; i++) {
    const receipt = await storage.save({ projectId: 'p', files: { a: `${i}` } });
    await storage.get(receipt);
    all.push(receipt);
  }
  const [old, active, used, young] = all as [Receipt, Receipt, Receipt, Receipt];
  await storage.activate(active);
  for (const receipt of [old, active, used]) age(receipt, 3 * HOUR);
  age(young, HOUR);
  await storage.get(used);
  expect(await storage.cleanupTrees()).toEqual({ evicted: 1, bytes: 1 });
  expect(all.map((receipt) => existsSync(join(receipt.path, 'source')))).toEqual([
    ...[false, true, true, true],
  ]);
  expect(namesIn(old)).toEqual(['archive.json', 'archive.tar.gz']);
  expect(readTexts((await storage.get(old)).sourcePath)).toEqual({ a: '0' });
  expect(await storage.cleanupTrees({ all: true })).toEqual({ evicted: 1, bytes: 1 });
  expect(existsSync(join(young.path, 'source'))).toBe(false);
});

test('what is too much goes, least recently used first', async () => {
  const cache = await testCache({ maxBytes: 250, maxAgeMs: 1000 * HOUR });
  const storage = await openTestStorage({ cache });
  const all = [];
  for (let i = 0; i < 4; i++) {
    const receipt = await storage.save({ projectId: 'p', files: { a: `${i}`.repeat(100) } });
    await storage.get(receipt);
    all.push(receipt);
  }
  for (const [i, at] of [2, 4, 1, 3].entries()) age(all[i]!, at * HOUR);
  expect(await storage.cleanupTrees()).toEqual({ evicted: 2, bytes: 200 });
  const left = all.map((receipt) => existsSync(join(receipt.path, 'source')));
  expect(left).toEqual([true, false, true, false]);
});

test.each([
  ['bytes', { blocks: 1000, bavail: 99, files: 1000, ffree: 500 }],
  ['inodes', { blocks: 1000, bavail: 500, files: 1000, ffree: 99 }],
])(
  'where few %s are left the least recently used go, whatever the settings say',
  async (_, full) => {
    const cache = await testCache({ maxAgeMs: 1000 * HOUR });
    const storage = await openTestStorage({ cache });
    const all: Receipt[] = [];
    for (let i = 0; i < 5; i++) {
      all.push(await storage.save({ projectId: 'p', files: { a: `${i}` }, tree: 'now' }));
    }
    await storage.activate(all[0]!);
    for (const [i, at] of [9, 2, 4, 3].entries()) age(all[i]!, at * HOUR);
    const laidOut = () => all.map((receipt) => existsSync(join(receipt.path, 'tree.json')));
    expect(await storage.cleanupTrees()).toEqual({ evicted: 0, bytes: 0 });
    // A small file system, as it says of itself: full while there are more than three trees.
    const { statfs } = promises;
    onTestFinished(() => {
      promises.statfs = statfs;
      syncBuiltinESMExports();
    });
    promises.statfs = (async () => {
      const isFull = laidOut().filter(Boolean).length > 3;
      return isFull ? full : { ...full, bavail: 100, ffree: 100 };
    }) as unknown as typeof statfs;
    syncBuiltinESMExports();
    expect(await storage.cleanupTrees()).toEqual({ evicted: 2, bytes: 2 });
    // Not the active one, nor what is in use.
    expect(laidOut()).toEqual([true, true, false, false, true]);
    for (const [i, receipt] of all.entries()) {
      expect(readTexts((await storage.get(receipt)).sourcePath)).toEqual({ a: `${i}` });
    }
  },
);

test('what the Python system left beside the files of a generation stays', async () => {
  const storePath = await tempFolder();
  const python = new PythonStore(storePath);
  const folder = python.versioned(
    { projectId: 'shop', version: 1, generationId: 'g' },
    { 'main.py': 'x' },
  );
  writeFileSync(join(folder, 'source/.env'), 'SECRET=1');
  const storage = await openTestStorage({ storePath });
  await storage.adopt({ projectId: 'shop', version: 1, generationId: 'g' });
  const got = await storage.get({ projectId: 'shop', version: 1 });
  expect(got.manifest.files).toEqual(['main.py']);
  expect(await storage.cleanupTrees({ all: true })).toEqual({ evicted: 0, bytes: 0 });
  expect(readTexts(got.sourcePath)).toEqual({ 'main.py': 'x', '.env': 'SECRET=1' });
});

test('all of them are laid out for whoever reads the store without us', async () => {
  const { storePath, storage, receipt } = await saved();
  const other = await storage.save({ projectId: 'q', files: { b: 'b' } });
  const opened = [];
  for await (const { ref, problem } of storage.openAll()) opened.push([ref.projectId, problem]);
  expect(opened).toEqual([
    ['p', null],
    ['q', null],
  ]);
  await storage.close();
  expect([textsIn(receipt), textsIn(other)]).toEqual([FILES, { b: 'b' }]);
  const manifest = readFileSync(
    join(storePath, 'q/generations', 'v1__'.concat(other.generationId), 'manifest.json'),
  );
  expect(JSON.parse(String(manifest))).toMatchObject({ files: ['b'], version: 1 });
});
