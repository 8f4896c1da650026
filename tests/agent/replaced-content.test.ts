/** What a generation held before it was replaced comes back by its digest, without a cloud too. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { listTree } from '../support/tree.ts';
import { textsOf, until } from '../support/two-hosts.ts';

const DAY_MS = 86_400_000;
const REF = { projectId: 'p', version: 1, generationId: 'g' };
const FIRST = { 'a.py': 'print(1)\n', 'd/ü.txt': 'ü', 'run.sh': { content: '#!', mode: 0o755 } };
const FIRST_TEXTS = { 'a.py': 'print(1)\n', 'd/ü.txt': 'ü', 'run.sh': '#!' };
const OWNER = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';

const trashOf = (storePath: string) => readdirSync(join(storePath, '.codebegen-storage/trash'));
const keptOf = async (storage: Storage) =>
  (await storage.show(REF)).replaced.map(({ digest }) => digest).sort();

test.each(['settled', 'as it was laid down'])(
  'it comes back whole, and what took its place is kept in turn: %s',
  async (how) => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath, background: how === 'settled' });
    const more = { ownerId: OWNER, metadata: { by: 'me' }, artifacts: { log: 'built' } };
    const first = await storage.save({ ...REF, files: FIRST, ...more });
    if (how === 'settled') await settled(storage, first);
    const before = await storage.show(REF);
    const second = await storage.save({ ...REF, files: { b: '2' }, replace: true });
    expect(await keptOf(storage)).toEqual([first.digest]);
    expect((await storage.show(REF)).metadata).toEqual({});
    // The disk says it, whatever became of the catalog.
    await storage.close();
    rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
    const again = await openTestStorage({ storePath });

    expect(await again.undelete(REF, { digest: first.digest })).toMatchObject({ undeleted: true });
    expect(await textsOf(again, REF)).toEqual(FIRST_TEXTS);
    const { sourcePath } = await again.get(REF);
    expect(statSync(join(sourcePath, 'run.sh')).mode & 0o100).toBe(0o100);
    const { digest, createdAt, metadata, fileCount, bytes } = before;
    const same = { digest, createdAt, metadata, fileCount, bytes };
    expect(await again.show(REF)).toMatchObject(same);
    expect(await again.activeVersion('p')).toBeNull();
    expect(await keptOf(again)).toEqual([second.digest]);
    expect(trashOf(storePath)).toHaveLength(1);
    expect(await again.undelete(REF, { digest: first.digest })).toMatchObject({ undeleted: false });

    expect(await again.undelete(REF, { digest: second.digest })).toMatchObject({ undeleted: true });
    expect(await textsOf(again, REF)).toEqual({ b: '2' });
  },
);

test('each content is kept for its time, and the same one once more when it was replaced again', async () => {
  const storePath = await tempFolder();
  let now = Date.now();
  const storage = await openTestStorage({ storePath, now: () => now, background: false });
  const contents = ['1', '2', '1', '3'];
  const saved = [];
  for (const text of contents) {
    saved.push(await storage.save({ ...REF, files: { text }, replace: true }));
    now += DAY_MS;
  }
  const [one, two] = saved;
  expect(await keptOf(storage)).toEqual([one!.digest, two!.digest].sort());
  // Seven days after its first replacement, which was on the second day.
  now += 4.5 * DAY_MS;
  expect(await storage.purge()).toMatchObject({ generations: 0, contents: 1 });
  expect(await keptOf(storage)).toEqual([one!.digest, two!.digest].sort());
  now += DAY_MS;
  expect(await storage.purge()).toMatchObject({ generations: 0, contents: 1 });
  await expect(storage.undelete(REF, { digest: two!.digest })).rejects.toMatchObject({
    code: 'not_found',
  });
  await storage.undelete(REF, { digest: one!.digest });
  expect(await textsOf(storage, REF)).toEqual({ text: '1' });
});

test('of what was deleted it comes back too: that is undeleted first', async () => {
  const storage = await openTestStorage();
  const first = await storage.save({ ...REF, files: { a: '1' } });
  await storage.save({ ...REF, files: { a: '2' }, replace: true });
  await storage.delete(REF);
  expect(await storage.undelete(REF, { digest: first.digest })).toMatchObject({ undeleted: true });
  expect(await textsOf(storage, REF)).toEqual({ a: '1' });
});

test('what is damaged by then takes the place of nothing, and undeletes nothing', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  const first = await settled(storage, storage.save({ ...REF, files: { a: '1'.repeat(500) } }));
  await storage.save({ ...REF, files: { a: '2' }, replace: true });
  const [name] = trashOf(storePath);
  const archive = join(
    ...[storePath, '.codebegen-storage/trash', name!, 'content/v1__g/archive.tar.gz'],
  );
  const bytes = readFileSync(archive);
  const at = bytes.length >> 1;
  bytes[at] = bytes[at]! ^ 1;
  writeFileSync(archive, bytes);
  const damaged = {
    code: 'corrupt',
    message: `Cannot undelete the content of "p v1": what was kept of it, "${archive}", is damaged. What it holds now stays`,
  };
  const undelete = () => storage.undelete(REF, { digest: first.digest });
  await expect(undelete()).rejects.toMatchObject(damaged);
  expect(await textsOf(storage, REF)).toEqual({ a: '2' });
  await storage.delete(REF);
  await expect(undelete()).rejects.toMatchObject(damaged);
  expect((await storage.list('p')).items).toEqual([]);
});

test('what the Python system left is kept too', async () => {
  const storePath = await tempFolder();
  new PythonStore(storePath).versioned(REF, { 'a.py': 'old' });
  const storage = await openTestStorage({ storePath });
  await storage.save({ ...REF, files: { b: '2' }, replace: true });
  const [digest] = await keptOf(storage);
  await storage.undelete(REF, { digest: digest! });
  expect(await textsOf(storage, REF)).toEqual({ 'a.py': 'old' });
  expect(await storage.show(REF)).toMatchObject({ metadata: { prompt: 'of g' } });
});

test('its tree is not kept: the archive has it all', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  for (const text of ['1', '2', '3']) {
    const files = { text };
    await settled(storage, storage.save({ ...REF, files, replace: true, tree: 'now' }));
  }
  const files = listTree(join(storePath, '.codebegen-storage/trash'));
  expect(files.filter((path) => path.endsWith('archive.tar.gz'))).toHaveLength(2);
  expect(files.filter((path) => /source|tree.json|manifest.json/.test(path))).toEqual([]);
});

test('of a replacement that failed nothing is left in the trash', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  const first = await storage.save({ ...REF, files: { a: '1' } });
  await storage.save({ ...REF, files: { a: '2' }, replace: true });
  const journal = readdirSync(join(storePath, '.codebegen-storage')).includes('replacing');
  expect(journal).toBe(true);
  // Where the journal is to be there is a folder.
  const name = trashOf(storePath)[0]!.split('.')[0]!;
  const inTheWay = join(storePath, '.codebegen-storage/replacing', `${name}.json`);
  mkdirSync(join(inTheWay, 'full'), { recursive: true });
  const replace = () => storage.save({ ...REF, files: { a: '3' }, replace: true });
  for (let i = 0; i < 3; i++) await expect(replace()).rejects.toThrow();
  expect(trashOf(storePath)).toHaveLength(1);
  rmSync(inTheWay, { recursive: true });
  await replace();
  expect(trashOf(storePath)).toHaveLength(2);
  expect(await keptOf(storage)).toContain(first.digest);
});

test('it moves with a generation that is renumbered', async () => {
  const storePath = await tempFolder();
  const cloud = testCloud(uniqueId('bucket'));
  const projectId = uniqueId();
  const other = await openTestStorage({ cloud });
  const taken = { projectId, version: 1, files: { o: 'ther' } };
  await waitForStatus(other, await other.save({ ...taken, generationId: 'o' }), 'verified');
  const alone = await openTestStorage({ storePath });
  const ref = { projectId, version: 1, generationId: 'g' };
  const first = await alone.save({ ...ref, files: { a: '1' } });
  await alone.save({ ...ref, files: { a: '2' }, replace: true });
  await alone.close();
  const storage = await openTestStorage({ storePath, cloud });
  await until(async () => (await storage.show(ref)).status === 'failed');
  const to = await storage.renumber(ref);
  expect((await storage.show(to)).replaced).toMatchObject([{ digest: first.digest }]);
  await storage.undelete(to, { digest: first.digest });
  expect(await textsOf(storage, to)).toEqual({ a: '1' });
});

test('what was replaced while the cloud was away comes back, and the cloud gets what is there then', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const bucket = uniqueId('bucket');
  const storePath = await tempFolder();
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const storage = await openTestStorage({ storePath, cloud, random: () => 0.01 });
  const ref = { ...REF, projectId: uniqueId() };
  await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'sent' } }), 'verified');
  proxy.rule = () => ({ kind: 'down' });
  const unsent = await storage.save({ ...ref, files: { a: 'unsent' }, replace: true });
  // What the cloud has it keeps itself.
  expect((await storage.show(ref)).replaced).toEqual([]);
  await until(async () => (await storage.status()).outbox.paused);
  await storage.save({ ...ref, files: { a: 'wrong' }, replace: true });
  await storage.undelete(ref, { digest: unsent.digest });
  expect(await textsOf(storage, ref)).toEqual({ a: 'unsent' });
  proxy.rule = () => null;
  await waitForStatus(storage, unsent, 'verified');
  const other = await openTestStorage({ cloud });
  expect(await textsOf(other, ref)).toEqual({ a: 'unsent' });
  const { digest } = (await storage.show(ref)).replaced[0]!;
  await storage.undelete(ref, { digest });
  await waitForStatus(storage, unsent, 'verified');
  await other.learnChanges();
  expect(await textsOf(other, ref)).toEqual({ a: 'wrong' });
});

test('the command shows what is kept, and brings it back', async () => {
  const FILE_STORAGE_PATH = await tempFolder();
  const cli = (...args: string[]) => runCli(args, { FILE_STORAGE_PATH });
  const folder = await tempFolder();
  const save = async (text: string, ...more: string[]) => {
    await writeFiles(folder, { a: text });
    const { stdout } = await cli(
      'save',
      folder,
      '--project',
      'p',
      '--generation',
      'g',
      '--json',
      ...more,
    );
    return JSON.parse(stdout).digest as string;
  };
  const first = await save('1');
  await save('2', '--replace');
  const shown = await cli('show', 'p', '1');
  expect(shown.stdout).toMatch(new RegExp(`held before ${first}, kept here until \\d{4}-`));
  const undone = await cli('undelete', 'p', '1', '--content', first);
  expect(undone).toMatchObject({ code: 0, stdout: 'p v1 g: undeleted\n' });
  expect(JSON.parse((await cli('show', 'p', '1', '--json')).stdout).digest).toBe(first);
});
