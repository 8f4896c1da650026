/** What was deleted on a host comes back: files, active mark, owner and metadata, without a cloud too. */
import { appendFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { createClient } from '../../functions/client/index.ts';
import type { Storage } from '../../node-agent/index.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { textsOf, until } from '../support/two-hosts.ts';

const BUCKET = 'codebegen-projects';
const DAY_MS = 86_400_000;
const FILES = { 'a.py': 'print(1)\n', 'd/ü.txt': 'ü' };
const OWNER = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';

const trashOf = (storePath: string) => {
  const folder = join(storePath, '.codebegen-storage/trash');
  return existsSync(folder) ? readdirSync(folder) : [];
};
const versions = async (storage: Storage, projectId: string) =>
  (await storage.list(projectId)).items.map(({ version }) => version).sort();

test('without a cloud all comes back, also where the catalog was lost', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  const more = { ownerId: OWNER, metadata: { by: 'me' }, artifacts: { log: 'built' } };
  const kept = await storage.save({ projectId: 'p', files: FILES, ...more });
  await storage.save({ projectId: 'p', files: { b: '2' } });
  await storage.activate(kept);
  const before = await storage.show(kept);
  await storage.delete(kept);
  expect(await versions(storage, 'p')).toEqual([2]);
  await expect(storage.get(kept)).rejects.toMatchObject({ code: 'not_found' });
  expect(await storage.activeVersion('p')).toBeNull();
  await storage.close();
  rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));

  const again = await openTestStorage({ storePath });
  expect(await again.undelete({ projectId: 'p', version: 1 })).toMatchObject({ undeleted: true });
  expect(await textsOf(again, kept)).toEqual(FILES);
  expect(await again.show(kept)).toEqual(before);
  expect(await again.activeVersion('p')).toBe(1);
  expect((await again.listProjects()).items).toMatchObject([{ ownerId: OWNER, versions: 2 }]);
  expect(trashOf(storePath)).toEqual([]);
  expect(await again.undelete(kept)).toMatchObject({ undeleted: false });
  await again.close();
  rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
  const last = await openTestStorage({ storePath });
  expect(await versions(last, 'p')).toEqual([1, 2]);
});

test('deleted, undeleted and deleted again, and what was made active since stays so', async () => {
  const storage = await openTestStorage();
  const [one, two] = [
    await storage.save({ projectId: 'p', files: FILES }),
    await storage.save({ projectId: 'p', files: { b: '2' } }),
  ];
  await storage.activate(one);
  await storage.delete(one);
  await storage.activate(two);
  await storage.undelete(one);
  expect(await storage.activeVersion('p')).toBe(2);
  await storage.delete(one);
  expect(await versions(storage, 'p')).toEqual([2]);
  await storage.undelete(one);
  expect(await textsOf(storage, one)).toEqual(FILES);
});

test('once its time is over it is gone for good, and the version stays taken', async () => {
  let now = Date.now();
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath, now: () => now });
  const receipt = await storage.save({ projectId: 'p', generationId: 'g', files: FILES });
  await storage.delete(receipt);
  now += 6.9 * DAY_MS;
  expect(await storage.purge()).toEqual({ generations: 0, contents: 0, freedBytes: 0 });
  now += 0.2 * DAY_MS;
  const purged = await storage.purge();
  expect(purged).toMatchObject({ generations: 1, contents: 0 });
  expect(purged.freedBytes).toBeGreaterThan(100);
  expect(trashOf(storePath)).toEqual([]);
  await expect(storage.undelete(receipt)).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('the cloud is off'),
  });
  await expect(
    storage.save({ projectId: 'p', version: 1, generationId: 'g', files: FILES }),
  ).rejects.toThrow('it was deleted');
});

test('what the Python system left comes back as it lay, flat or not', async () => {
  const storePath = await tempFolder();
  const manifest = {
    generation_id: 'g',
    project_id: 'old',
    version: 2,
    files: ['x'],
    file_count: 1,
  };
  await writeFiles(storePath, {
    'flat/main.py': 'print(1)',
    'flat/d/b.txt': 'b',
    'old/generations/v2__g/source/x': 'x',
    'old/generations/v2__g/manifest.json': JSON.stringify({
      ...{ ...manifest, total_size_bytes: 1, metadata: {} },
      created_at: '2026-01-01T00:00:00Z',
    }),
  });
  const storage = await openTestStorage({ storePath });
  for (const ref of [
    { projectId: 'flat', version: 1 },
    { projectId: 'old', version: 2 },
  ]) {
    const texts = async () =>
      // What is ours lies beside a flat one.
      Object.entries(await textsOf(storage, ref)).filter(([path]) => !path.startsWith('gen'));
    const before = await texts();
    await storage.delete(ref);
    expect(await versions(storage, ref.projectId)).toEqual([]);
    await storage.undelete(ref);
    expect(await texts()).toEqual(before);
  }
});

test.each([
  ['before the files are moved', 'generation'],
  ['after that', 'nothing'],
])('a deletion that a crash ended %s is finished, and can be undone', async (_, left) => {
  const storePath = await tempFolder();
  const first = await openTestStorage({ storePath });
  const receipt = await first.save({ projectId: 'p', generationId: 'g', files: FILES });
  await first.delete(receipt);
  if (left === 'generation') await first.undelete(receipt);
  await first.close();
  if (left === 'generation') {
    // The tombstone is there, and all else is as it was.
    const mark = { version: 1, generation_id: 'g', deleted_at: new Date().toISOString() };
    const purge_at = new Date(Date.now() + DAY_MS).toISOString();
    appendFileSync(
      join(storePath, 'p/generations/tombstones.jsonl'),
      `\n${JSON.stringify({ ...mark, digests: [receipt.digest], purge_at })}`,
    );
  }
  rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
  const again = await openTestStorage({ storePath });
  expect(await versions(again, 'p')).toEqual([]);
  expect(trashOf(storePath)).toHaveLength(1);
  await again.undelete(receipt);
  expect(await textsOf(again, receipt)).toEqual(FILES);
});

test('with the cloud on, what it keeps lies here no longer, and comes back from there', async () => {
  const storePath = await tempFolder();
  const owner = await makeUser();
  const storage = await openTestStorage({ storePath, cloud: testCloud(BUCKET) });
  const receipt = await storage.save({ projectId: uniqueId(), ownerId: owner.id, files: FILES });
  await waitForStatus(storage, receipt, 'verified');
  await storage.delete(receipt);
  await until(async () => (await storage.status()).outbox.owed === 0);
  expect(trashOf(storePath)).toEqual([]);
  expect(await storage.undelete(receipt)).toMatchObject({ undeleted: true });
  await waitForStatus(storage, receipt, 'verified');
  expect(await textsOf(storage, receipt)).toEqual(FILES);
  expect(await storage.learnChanges()).toBe(0);
  expect(await versions(storage, receipt.projectId)).toEqual([1]);
});

test('undone while the cloud is away, a deletion that it has heard of is undone there too', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storage = await openTestStorage({
    cloud: { ...testCloud(uniqueId('bucket')), url: proxy.url },
    random: () => 0.01,
  });
  // Nothing gets to the bucket: what is deleted is kept here.
  proxy.rule = (_, path) => (path.startsWith('/storage/') ? { kind: 'answer', status: 503 } : null);
  const receipt = await storage.save({ projectId: uniqueId(), files: FILES });
  await until(async () => (await storage.status()).outbox.paused);
  await storage.delete(receipt);
  const rows = () =>
    serviceClient()
      .from('storage_generations')
      .select('status')
      .eq('project_id', receipt.projectId);
  await until(async () => (await rows()).data?.[0]?.status === 'deleted');
  proxy.rule = () => ({ kind: 'down' });
  expect(await storage.undelete(receipt)).toMatchObject({ undeleted: true });
  expect(await textsOf(storage, receipt)).toEqual(FILES);
  proxy.rule = () => null;
  await waitForStatus(storage, receipt, 'verified');
  await storage.learnChanges();
  expect(await textsOf(storage, receipt)).toEqual(FILES);
  expect((await rows()).data).toEqual([{ status: 'verified' }]);
});

test('what another host undeletes is back on this one', async () => {
  const cloud = testCloud(BUCKET);
  const [a, b] = [await openTestStorage({ cloud }), await openTestStorage({ cloud })];
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  for (const storage of [a, b]) {
    await waitForStatus(storage, await storage.save({ ...ref, files: FILES }), 'verified');
  }
  await a.delete(ref);
  await until(async () => (await a.status()).outbox.owed === 0);
  await b.learnChanges();
  await expect(b.get(ref)).rejects.toMatchObject({ code: 'not_found' });
  // One that knows nothing of it asks the cloud.
  const c = await openTestStorage({ cloud });
  expect(await c.undelete({ projectId: ref.projectId, version: 1 })).toMatchObject({
    ref,
    undeleted: true,
  });
  for (const storage of [a, b]) {
    await storage.learnChanges();
    expect(await textsOf(storage, ref)).toEqual(FILES);
  }
});

test('what a generation held before comes back by its digest, on the host that replaced it too', async () => {
  const cloud = testCloud(BUCKET);
  const [a, b] = [await openTestStorage({ cloud }), await openTestStorage({ cloud })];
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  const first = await a.save({ ...ref, files: FILES });
  await waitForStatus(a, first, 'verified');
  const second = await a.save({ ...ref, files: { b: '2' }, replace: true });
  await waitForStatus(a, second, 'verified');
  await waitForStatus(b, await b.save({ ...ref, files: { b: '2' } }), 'verified');
  await a.activate(ref);
  await expect(a.undelete(ref, { digest: first.digest })).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('activate another one first'),
  });
  expect(await b.undelete(ref, { digest: first.digest })).toMatchObject({ undeleted: true });
  expect(await textsOf(b, ref)).toEqual(FILES);
  await expect(b.undelete(ref, { digest: 'f'.repeat(64) })).rejects.toMatchObject({
    code: 'not_found',
  });
  // The other host is told, and gives out what everybody gets.
  await a.learnChanges();
  expect(await a.show(ref)).toMatchObject({ status: 'failed' });
  expect(await textsOf(a, ref)).toEqual(FILES);
});

test('what never got to the cloud comes back where its user undoes the deletion there', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const user = await makeUser();
  const storage = await openTestStorage({
    cloud: { ...testCloud(uniqueId('bucket')), url: proxy.url },
    random: () => 0.01,
  });
  proxy.rule = (_, path) => (path.startsWith('/storage/') ? { kind: 'answer', status: 503 } : null);
  const files = { projectId: uniqueId(), files: FILES, ownerId: user.id };
  const receipt = await storage.save(files);
  await until(async () => (await storage.status()).outbox.paused);
  const client = createClient(inject('stack').SUPABASE_URL, async () => user.token);
  await client.deleteGeneration(receipt.projectId, 1);
  await storage.learnChanges();
  await expect(storage.get(receipt)).rejects.toMatchObject({ code: 'not_found' });
  expect(await client.undeleteGeneration(receipt.projectId, 1)).toMatchObject({
    status: 'pending',
  });
  await storage.learnChanges();
  expect(await textsOf(storage, receipt)).toEqual(FILES);
  proxy.rule = () => null;
  await waitForStatus(storage, receipt, 'verified');
});

test('what its user purges leaves the trash of a host', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const user = await makeUser();
  const storePath = await tempFolder();
  const cloud = { ...testCloud(uniqueId('bucket')), url: proxy.url };
  const storage = await openTestStorage({ storePath, cloud, random: () => 0.01 });
  proxy.rule = (_, path) => (path.startsWith('/storage/') ? { kind: 'answer', status: 503 } : null);
  const receipt = await storage.save({ projectId: uniqueId(), files: FILES, ownerId: user.id });
  await until(async () => (await storage.status()).outbox.paused);
  const client = createClient(inject('stack').SUPABASE_URL, async () => user.token);
  await client.deleteGeneration(receipt.projectId, 1);
  await storage.learnChanges();
  expect(trashOf(storePath)).toHaveLength(1);
  await client.deleteGeneration(receipt.projectId, 1, { purge: true });
  await storage.learnChanges();
  expect(trashOf(storePath)).toEqual([]);
  proxy.rule = () => null;
  await expect(storage.undelete(receipt)).rejects.toThrow('it was purged');
});

test('the command says what it did, and why it could not', async () => {
  const FILE_STORAGE_PATH = await tempFolder();
  const folder = await tempFolder();
  await writeFiles(folder, FILES);
  const cli = (...args: string[]) => runCli(args, { FILE_STORAGE_PATH });
  await cli('save', folder, '--project', 'shop', '--generation', 'g');
  expect((await cli('undelete', 'shop', '1')).stdout).toContain('shop v1 g: was not deleted');
  await cli('delete', 'shop', '1');
  const undone = await cli('undelete', 'shop', '1', '--json');
  expect([undone.code, JSON.parse(undone.stdout)]).toEqual([
    0,
    { project_id: 'shop', version: 1, generation_id: 'g', undeleted: true },
  ]);
  const never = await cli('undelete', 'shop', '7');
  expect([never.code, never.stderr]).toEqual([
    4,
    expect.stringContaining('Cannot undelete "shop v7"'),
  ]);
  const odd = await cli('undelete', 'shop', '1', '--content', 'abc');
  expect([odd.code, odd.stderr]).toEqual([2, expect.stringContaining('64 hexadecimal digits')]);
  const purged = await cli('purge', '--json');
  expect(JSON.parse(purged.stdout)).toEqual({ generations: 0, contents: 0, freed_bytes: 0 });
});

test('a whole project is undeleted: what this host keeps, and what the cloud keeps', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const saved = [];
  for (const text of ['1', '2', '3', '4']) {
    saved.push(await storage.save({ projectId, files: { a: text } }));
  }
  for (const receipt of saved) await waitForStatus(storage, receipt, 'verified');
  await storage.activate(saved[1]!);
  await storage.deleteProject(projectId);
  await until(async () => (await storage.status()).outbox.owed === 0);
  // The first was purged meanwhile; another host that was never there undoes the rest.
  const rows = serviceClient().from('storage_generations');
  const past = new Date(Date.now() - 1000).toISOString();
  await rows.update({ purge_at: past }).match({ project_id: projectId, version: 1 });
  await storage.purge();
  const other = await openTestStorage({ cloud: testCloud(bucket) });
  expect(await other.undeleteProject(projectId)).toEqual({ projectId, undeleted: 3, gone: 0 });
  expect(await other.undeleteProject(projectId)).toEqual({ projectId, undeleted: 0, gone: 0 });
  await storage.learnChanges();
  expect(await versions(storage, projectId)).toEqual([2, 3, 4]);
  for (const receipt of saved.slice(1)) {
    expect(existsSync(join(receipt.path, 'archive.tar.gz'))).toBe(true);
  }
  await storage.deleteProject(projectId);
  await storage.close();
  const env = { FILE_STORAGE_PATH: storePath };
  const offline = await openTestStorage({ storePath });
  const never = await offline.save({ projectId, files: { a: 'here alone' } });
  await offline.deleteProject(projectId);
  await offline.close();
  const ran = await runCli(['undelete', projectId, '--all'], env);
  expect([ran.code, ran.stdout]).toEqual([
    0,
    // Three are in the cloud alone, which is off; one was purged.
    `${projectId}: 1 undeleted, of 4 nothing is kept that can be had now\n`,
  ]);
  const last = await openTestStorage({ storePath });
  expect(await textsOf(last, never)).toEqual({ a: 'here alone' });
  const unknown = await runCli(['undelete', 'nothing', '--all'], env);
  expect([unknown.code, unknown.stderr]).toEqual([4, expect.stringContaining('nothing')]);
  for (const args of [[], ['1', '--all'], ['--all', '--content', 'f'.repeat(64)]]) {
    expect((await runCli(['undelete', projectId, ...args], env)).code, args.join(' ')).toBe(2);
  }
});
