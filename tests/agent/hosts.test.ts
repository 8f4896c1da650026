/** Two hosts, one cloud: what the one does to the other. */
import { existsSync } from 'node:fs';
import { expect, inject, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { keysOf } from '../support/two-hosts.ts';

const BUCKET = 'codebegen-projects';
const refOf = () => ({ projectId: uniqueId(), version: 1, generationId: 'g' });

async function waitForFailure(storage: Awaited<ReturnType<typeof openTestStorage>>, ref: object) {
  await expect(waitForStatus(storage, ref as never, 'verified')).rejects.toThrow();
}

async function twoHosts() {
  const cloud = testCloud(BUCKET);
  return [await openTestStorage({ cloud }), await openTestStorage({ cloud })] as const;
}

/** A's content got to the cloud; B's own, under the same name, cannot. */
async function twoHostsAtOdds() {
  const [a, b] = await twoHosts();
  const ref = refOf();
  await a.save({ ...ref, files: { a: 'of A' } });
  await waitForStatus(a, ref, 'verified');
  await b.save({ ...ref, files: { a: 'of B' } });
  await waitForFailure(b, ref);
  return { a, b, ref };
}

test('deleting what never got there leaves the other host its own', async () => {
  const { a, b, ref } = await twoHostsAtOdds();
  expect(await b.delete(ref)).toMatchObject({ deleted: true });
  await b.drain();
  expect((await b.status()).outbox.owed).toBe(0);
  expect(await a.learnChanges()).toBe(0);
  const rows = serviceClient().from('storage_generations').select('status');
  expect((await rows.eq('project_id', ref.projectId)).data).toEqual([{ status: 'verified' }]);
  const key = `${ref.projectId}/generations/v1__g.tar.gz`;
  expect((await serviceClient().storage.from(BUCKET).exists(key)).data).toBe(true);
});

test('a deletion elsewhere takes no other content that never got there', async () => {
  const { a, b, ref } = await twoHostsAtOdds();
  await a.delete(ref);
  await a.drain();
  expect(await b.learnChanges()).toBe(0);
  await b.retryParked();
  await waitForFailure(b, ref);
  expect((await b.show(ref)).failure).toContain('other content');
  expect(await b.get(ref)).toMatchObject({ from: 'store' });
});

test('a save into a project that was deleted is parked and told of, not deleted', async () => {
  const problems: Error[] = [];
  const onProblem = (error: unknown) => problems.push(error as Error);
  const storage = await openTestStorage({ cloud: testCloud(BUCKET), onProblem });
  const ref = refOf();
  await storage.save({ ...ref, files: { a: '1' } });
  await waitForStatus(storage, ref, 'verified');
  const deleted = { deleted_at: new Date().toISOString() };
  await serviceClient().from('storage_projects').update(deleted).eq('id', ref.projectId);
  const receipt = await settled(
    storage,
    storage.save({ projectId: ref.projectId, files: { a: '2' } }),
  );
  await waitForFailure(storage, receipt);
  expect((await storage.show(receipt)).failure).toContain('the project was deleted');
  expect(problems.at(-1)?.message).toContain('the project was deleted');
  expect(existsSync(receipt.path)).toBe(true);
});

test('two that upload the same content at once agree on what the bucket has', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const a = await openTestStorage({ cloud: { ...testCloud(BUCKET), url: proxy.url } });
  const b = await openTestStorage({ cloud: testCloud(BUCKET) });
  const ref = refOf();
  const key = `${ref.projectId}/generations/v1__g.tar.gz`;
  // A's upload is carried out, B's comes first to the row, then A's bytes are the last to arrive.
  proxy.rule = (_, path) =>
    path.includes('storage_record_generation') ? { kind: 'answer', status: 503 } : null;
  const saved = await settled(a, a.save({ ...ref, files: { a: 'same' }, metadata: { host: 'A' } }));
  while (!(await serviceClient().storage.from(BUCKET).exists(key)).data) await a.drain(100);
  const archive = (await serviceClient().storage.from(BUCKET).download(key)).data!;
  const others = { sha256: 'of-B', status: 'verified', uploaded_at: new Date().toISOString() };
  await serviceClient().from('storage_generations').update(others).eq('project_id', ref.projectId);
  proxy.rule = () => null;
  await a.retryParked();
  await waitForStatus(a, ref, 'verified');
  const rows = serviceClient().from('storage_generations').select('sha256');
  expect((await rows.eq('project_id', ref.projectId)).data).toEqual([{ sha256: saved.sha256 }]);
  expect(archive.size).toBe(saved.archiveBytes);
  expect(await b.get(ref)).toMatchObject({ from: 'cloud' });
});

test('an object of a replacement that was never switched to goes with the deletion', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storage = await openTestStorage({ cloud: { ...testCloud(BUCKET), url: proxy.url } });
  const ref = refOf();
  const list = async () => (await keysOf(BUCKET, ref.projectId)).length;
  await storage.save({ ...ref, files: { a: '0' } });
  await waitForStatus(storage, ref, 'verified');
  proxy.rule = (_, path) =>
    path.includes('storage_record_generations') ? { kind: 'answer', status: 503 } : null;
  await storage.save({ ...ref, files: { a: '1' }, replace: true });
  while ((await list()) < 2) await storage.drain(50);
  await storage.delete(ref);
  proxy.rule = () => null;
  await storage.retryParked();
  while ((await storage.status()).outbox.owed > 0) await storage.drain(50);
  expect(await list()).toBe(0);
});
