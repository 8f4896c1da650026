/** `cleanup --store`: what the cloud has goes from the store, and nothing else ever does. */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, inject, test } from 'vitest';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import type { Receipt, Storage } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
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

const DAY = 86_400_000;

const keyOf = ({ projectId, version, generationId }: Receipt) =>
  `${projectId}/generations/v${version}__${generationId}.tar.gz`;

async function host(url?: string) {
  const bucket = uniqueId('bucket');
  const clock = { ahead: 0 };
  const cloud = { ...testCloud(bucket), ...(url === undefined ? {} : { url }) };
  const options = { storePath: await tempFolder(), now: () => Date.now() + clock.ahead };
  const events: StorageEvent[] = [];
  const onEvent = (event: StorageEvent) => events.push(event);
  const cache = await testCache();
  const problems: string[] = [];
  const onProblem = (error: unknown) => problems.push(String(error));
  const storage = await openTestStorage({ ...options, cloud, cache, onEvent, onProblem });
  const projectId = uniqueId();
  const save = async (text: string) => {
    const receipt = await settled(storage, storage.save({ projectId, files: { 'a.txt': text } }));
    await waitForStatus(storage, receipt, 'verified');
    return receipt;
  };
  return { bucket, storage, projectId, clock, save, options, events, problems };
}

test('an old one that the cloud has goes, is got from there, and is put back by a save', async () => {
  const { storage, clock, save, options, events } = await host();
  const old = await save('old');
  const active = await save('active');
  await storage.activate(active);
  clock.ahead = 31 * DAY;
  const fresh = await save('fresh');

  expect(await storage.cleanupStore({ olderThanMs: 60 * DAY })).toEqual({ evicted: 0, bytes: 0 });
  expect(await storage.cleanupStore({ olderThanMs: 30 * DAY })).toEqual({ evicted: 1, bytes: 3 });
  expect(events.filter(({ kind }) => kind === 'store.evicted')).toMatchObject([
    { from: 'store', generations: 1, bytes: 3 },
  ]);
  expect([old, active, fresh].map(({ path }) => existsSync(path))).toEqual([false, true, true]);
  expect(await storage.cleanupStore({ olderThanMs: 30 * DAY })).toEqual({ evicted: 0, bytes: 0 });

  expect(await storage.show(old)).toMatchObject({ status: 'verified', sha256: old.sha256 });
  const got = await storage.get(old);
  expect([got.from, readTexts(got.sourcePath)]).toEqual(['cache', { 'a.txt': 'old' }]);
  expect((await fetch((await storage.downloadUrl(old))!.url)).status).toBe(200);

  const ownerId = randomUUID();
  const again = await storage.save({ ...old, files: { 'a.txt': 'old' }, ownerId });
  expect((await storage.listProjects()).items).toMatchObject([{ ownerId }]);
  expect(again).toMatchObject({ created: true, version: old.version, digest: old.digest });
  await waitForStatus(storage, old, 'verified');
  expect(await storage.get(old)).toMatchObject({ from: 'store' });
  expect((await fetch((await storage.downloadUrl(old))!.url)).status).toBe(200);
  await storage.close();
  // A new start finds nothing wrong with what is not there.
  const problems: unknown[] = [];
  const onProblem = (error: unknown) => problems.push(error);
  const reopened = await openTestStorage({ ...options, onProblem });
  expect((await reopened.list(old.projectId)).items).toHaveLength(3);
  expect(problems).toEqual([]);
});

test('what the bucket lost, or holds in other bytes, stays', async () => {
  const { bucket, storage, clock, save } = await host();
  const [lost, changed] = [await save('lost'), await save('changed')];
  const objects = serviceClient().storage.from(bucket);
  await objects.remove([keyOf(lost)]);
  await objects.upload(keyOf(changed), 'other bytes', { upsert: true });
  clock.ahead = DAY;
  expect(await storage.cleanupStore({ olderThanMs: 1 })).toEqual({ evicted: 0, bytes: 0 });
  for (const receipt of [lost, changed]) expect(existsSync(receipt.path)).toBe(true);
});

test.each([
  ['has no row', null, 'has no row'],
  ['has another generation', { generation_id: 'other' }, 'held by generation "other"'],
  ['says it failed', { status: 'failed' }, 'says that it is failed'],
  ['says it was deleted', { status: 'deleted', deleted_at: 'now' }, 'was deleted in the cloud'],
  ['has other content', { digest: '0'.repeat(64) }, 'another host replaced it'],
])('what the database %s of stays, though the bucket has it', async (_, row, said) => {
  const { storage, projectId, clock, save, problems } = await host();
  const receipt = await save('mine');
  await serviceClient().from('storage_manifests').delete().eq('project_id', projectId);
  const rows = serviceClient().from('storage_generations');
  const changed = row === null ? rows.delete() : rows.update(row);
  expect((await changed.eq('project_id', projectId)).error).toBeNull();
  clock.ahead = DAY;
  expect(await storage.cleanupStore({ olderThanMs: 1 })).toEqual({ evicted: 0, bytes: 0 });
  expect(existsSync(receipt.path)).toBe(true);
  expect(problems).toContainEqual(expect.stringContaining(said));
});

/** Has the bucket hold the same content in an archive of another sha256. @returns that */
async function packOther(bucket: string, receipt: Receipt): Promise<string> {
  const objects = serviceClient().storage.from(bucket);
  const key = keyOf(receipt);
  const { data } = await objects.download(key);
  const other = gzipSync(gunzipSync(Buffer.from(await data!.arrayBuffer())), { level: 1 });
  await objects.upload(key, other, { upsert: true });
  return createHash('sha256').update(other).digest('hex');
}

test.each([
  ['is what the database knows', (sha256: string) => ({ sha256 })],
  ['the database knows no hash of', () => ({ sha256: null, digest: null })],
])('the same content in an archive that %s is proof', async (_, know) => {
  const { bucket, storage, projectId, clock, save } = await host();
  const receipt = await save('packed twice');
  const row = know(await packOther(bucket, receipt));
  await serviceClient().from('storage_generations').update(row).eq('project_id', projectId);
  clock.ahead = DAY;
  expect(await storage.cleanupStore({ olderThanMs: 1 })).toMatchObject({ evicted: 1 });
  const got = await storage.get(receipt);
  expect(readTexts(got.sourcePath)).toEqual({ 'a.txt': 'packed twice' });
});

test('the same content in another archive than was recorded is refused to who gets it: it stays, and is sent again', async () => {
  const { bucket, storage, clock, save, problems } = await host();
  const receipt = await save('packed twice');
  await packOther(bucket, receipt);
  clock.ahead = DAY;
  const evict = () => storage.cleanupStore({ olderThanMs: 1 });
  expect(await evict()).toEqual({ evicted: 0, bytes: 0 });
  expect(problems).toContainEqual(expect.stringContaining('another archive than was recorded'));
  await expect.poll(evict, { timeout: 20_000 }).toMatchObject({ evicted: 1 });
  const got = await storage.get(receipt);
  expect(readTexts(got.sourcePath)).toEqual({ 'a.txt': 'packed twice' });
});

test.each([
  ['activated', (storage: Storage, ref: Receipt) => storage.activate(ref)],
  [
    'replaced',
    (storage: Storage, { projectId, version, generationId }: Receipt) =>
      storage.save({ projectId, version, generationId, files: { b: 'b' }, replace: true }),
  ],
])('what is %s while the cloud is asked stays', async (_, change) => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const { storage, clock, save } = await host(proxy.url);
  const receipt = await save('mine');
  clock.ahead = DAY;
  let isChanged = false;
  proxy.hold = async (line) => {
    if (isChanged || !line.includes('/object/info/')) return;
    isChanged = true;
    await change(storage, receipt);
  };
  expect(await storage.cleanupStore({ olderThanMs: 1 })).toEqual({ evicted: 0, bytes: 0 });
  expect(isChanged).toBe(true);
  expect(existsSync(receipt.path)).toBe(true);
});

test('what is not verified stays, and so does all where the cloud is off or away', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const { storage, projectId, clock, save } = await host(proxy.url);
  const verified = await save('verified');
  proxy.rule = () => ({ kind: 'down' });
  const pending = await storage.save({ projectId, files: { a: 'pending' } });
  clock.ahead = DAY;
  const cleaning = storage.cleanupStore({ olderThanMs: 1 });
  await expect(cleaning).rejects.toMatchObject({ code: 'unavailable' });
  proxy.rule = (_, path) => (/storage_reserve/.test(path) ? { kind: 'answer', status: 503 } : null);
  expect(await storage.cleanupStore({ olderThanMs: 1 })).toMatchObject({ evicted: 1 });
  expect([verified, pending].map(({ path }) => existsSync(path))).toEqual([false, true]);

  const local = await openTestStorage();
  await expect(local.cleanupStore({ olderThanMs: 1 })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('the cloud is off'),
  });
});

test.each([
  [['--store'], 2],
  [['--older-than', '30d'], 2],
  [['--store', '--older-than', '30'], 2],
  [['--store', '--older-than', '30d'], 5],
])('cleanup %j with the cloud off ends with %i', async (args, code) => {
  const ran = await runCli(['cleanup', ...args], { FILE_STORAGE_PATH: await tempFolder() });
  expect(ran.code, ran.stderr).toBe(code);
});
