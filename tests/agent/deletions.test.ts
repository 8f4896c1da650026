/** What the web app or another host deleted is learnt, and removed here. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { makeUser, serviceClient, type TestUser, uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration } from '../support/generation.ts';
import { openTestStorage, testCache, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const BUCKET = 'codebegen-projects';

test('a deletion through the function is learnt: gone here, and never uploaded again', async () => {
  const user = await makeUser();
  const storePath = await tempFolder();
  const options = { storePath, cloud: testCloud(BUCKET) };
  const storage = await openTestStorage({ ...options, background: true });
  const projectId = uniqueId();
  const first = await storage.save({ projectId, ownerId: user.id, files: { a: '1' } });
  const second = await storage.save({ projectId, files: { a: '2' } });
  await waitForStatus(storage, first, 'verified');
  await waitForStatus(storage, second, 'verified');
  await deleteAsUser(user, projectId, 1);

  expect(await storage.learnChanges()).toBe(1);
  await expect(storage.get(first)).rejects.toMatchObject({ code: 'not_found' });
  expect(existsSync(first.path)).toBe(false);
  expect(await storage.get(second)).toMatchObject({ from: 'store' });
  expect(await storage.learnChanges()).toBe(0);
  await storage.drain();
  await storage.close();

  rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
  const again = await openTestStorage(options);
  await expect(again.get(first)).rejects.toMatchObject({ code: 'not_found' });
  await waitForStatus(again, second, 'verified');
  await again.drain();
  const rows = serviceClient().from('storage_generations').select('version, status');
  expect((await rows.eq('project_id', projectId).order('version')).data).toEqual([
    { version: 1, status: 'deleted' },
    { version: 2, status: 'verified' },
  ]);
  // The version stays taken.
  await expect(again.save({ ...first, files: { a: '1' } })).rejects.toMatchObject({
    code: 'conflict',
  });
});

test('a host that only has a cached copy gives it up too', async () => {
  const user = await makeUser();
  const saver = await openTestStorage({ cloud: testCloud(BUCKET) });
  const receipt = await saver.save({ projectId: uniqueId(), ownerId: user.id, files: { a: '1' } });
  await waitForStatus(saver, receipt, 'verified');
  const cache = await testCache();
  const reader = await openTestStorage({ cloud: testCloud(BUCKET), cache });
  const { path } = await reader.get(receipt);
  await deleteAsUser(user, receipt.projectId, receipt.version);
  expect(await reader.learnChanges()).toBe(1);
  expect(existsSync(path)).toBe(false);
  await expect(reader.get(receipt)).rejects.toMatchObject({ code: 'not_found' });
});

test('more deletions than fit a page, all at the same time, are learnt; those of others are passed over', async () => {
  const storage = await openTestStorage({ cloud: testCloud(BUCKET), background: false });
  const projectId = uniqueId();
  const count = 620;
  await putGeneration({ projectId, version: 1, ownerId: null, object: false });
  const rows = Array.from({ length: count }, (_, i) => ({
    project_id: projectId,
    version: i + 2,
    generation_id: `g-${i + 2}`,
    bucket: BUCKET,
    object_key: `${projectId}/generations/v${i + 2}__g-${i + 2}.tar.gz`,
    status: 'deleted',
    deleted_at: '2026-01-01T00:00:00.123456Z',
  }));
  const { error } = await serviceClient().from('storage_generations').insert(rows);
  expect(error).toBeNull();
  const kept = await storage.save({
    projectId,
    version: 1,
    generationId: 'mine',
    files: { a: '1' },
  });
  const last = await storage.save({
    projectId,
    version: count + 1,
    generationId: `g-${count + 1}`,
    files: { a: '1' },
  });
  const other = await storage.save({
    projectId,
    version: 5,
    generationId: 'other',
    files: { a: '1' },
  });
  expect(await storage.learnChanges()).toBe(1);
  await expect(storage.get(last)).rejects.toMatchObject({ code: 'not_found' });
  for (const receipt of [kept, other]) {
    expect(await storage.get(receipt)).toMatchObject({ from: 'store' });
  }
  const tombstones = readFileSync(join(kept.path, '../tombstones.jsonl'), 'utf8')
    .trim()
    .split('\n');
  expect(tombstones.map((line) => JSON.parse(line).generation_id)).toEqual([`g-${count + 1}`]);
});

test('a deletion whose transaction ended late is learnt too', async () => {
  const user = await makeUser();
  const storage = await openTestStorage({ cloud: testCloud(BUCKET), background: false });
  const projectId = uniqueId();
  const minutesAgo = (n: number) => new Date(Date.now() - n * 60_000).toISOString();
  await putGeneration({ projectId, version: 1, ownerId: user.id });
  await putGeneration({ projectId, version: 2, ownerId: user.id, object: false });
  await deleteAsUser(user, projectId, 1);
  const late = await storage.save({
    projectId,
    version: 2,
    generationId: 'gen-2',
    files: { a: '1' },
  });
  expect(await storage.learnChanges()).toBe(0);
  // It began before the one that is known, and is seen only now.
  const { error } = await serviceClient()
    .from('storage_generations')
    .update({ status: 'deleted', deleted_at: minutesAgo(5), digest: late.digest })
    .match({ project_id: projectId, version: 2 });
  expect(error).toBeNull();
  expect(await storage.learnChanges()).toBe(1);
  await expect(storage.get(late)).rejects.toMatchObject({ code: 'not_found' });
});

test('without the migrations, or without a cloud, there is nothing to learn', async () => {
  const local = await openTestStorage();
  expect(await local.learnChanges()).toBe(0);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const body = { code: 'PGRST202', message: 'no such function' };
  proxy.rule = (_, path) =>
    path.startsWith('/rest/') ? { kind: 'answer', status: 404, body } : null;
  const without = await openTestStorage({ cloud: { ...testCloud(BUCKET), url: proxy.url } });
  expect(await without.learnChanges()).toBe(0);
});

async function deleteAsUser(user: TestUser, projectId: string, version: number): Promise<void> {
  const url = `${inject('stack').SUPABASE_URL}/functions/v1/generations/projects/${projectId}/${version}`;
  const response = await fetch(url, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${user.token}` },
  });
  expect(response.ok, await response.text()).toBe(true);
}

test('one deletion that cannot be carried out keeps no other from being learnt', async () => {
  const problems: unknown[] = [];
  const onProblem = (error: unknown) => problems.push(error);
  const storage = await openTestStorage({ cloud: testCloud(BUCKET), onProblem });
  const user = await makeUser();
  const save = async () => {
    const receipt = await storage.save({
      projectId: uniqueId(),
      ownerId: user.id,
      files: { a: '1' },
    });
    await waitForStatus(storage, receipt, 'verified');
    return receipt;
  };
  const [one, two] = [await save(), await save()];
  const inTheWay = join(one.path, '../tombstones.jsonl');
  mkdirSync(inTheWay);
  await deleteAsUser(user, one.projectId, 1);
  await deleteAsUser(user, two.projectId, 1);
  expect(await storage.learnChanges()).toBe(1);
  expect(problems).toHaveLength(1);
  await expect(storage.get(two)).rejects.toMatchObject({ code: 'not_found' });
  rmdirSync(inTheWay);
  expect(await storage.learnChanges()).toBe(1);
  await expect(storage.get(one)).rejects.toMatchObject({ code: 'not_found' });
});
