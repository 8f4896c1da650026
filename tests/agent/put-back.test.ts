/** A database that was put back to an earlier time, or is another one: what lies in the bucket stays good. */
import { expect, test } from 'vitest';
import type { Ref, Storage } from '../../node-agent/index.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { waitForStatus } from '../support/storage.ts';
import {
  evict,
  forget,
  keysOf,
  newRef,
  quiet,
  rowsOf,
  startHost,
  textsOf,
} from '../support/two-hosts.ts';

const X = { a: 'X' };
const Y = { a: 'Y' };

/** Two hosts with the same content, whose archives differ in the time that their manifests name. */
async function twoHosts(bucket: string, ref: ReturnType<typeof newRef>) {
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  for (const { storage } of [a, b]) {
    await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
  }
  return { a, b };
}

/** A host that has saved contents, each in the place of the one before, and has them in the cloud. */
async function startReplacing(
  bucket: string,
  ref: ReturnType<typeof newRef>,
  contents: readonly Record<string, string>[],
): Promise<Storage> {
  const { storage } = await startHost(bucket);
  for (const files of contents) {
    const saved = await storage.save({ ...ref, files, replace: true });
    await waitForStatus(storage, saved, 'verified');
  }
  await quiet(storage);
  return storage;
}

test('a replacement that only the bucket has is found under its key', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage } = await startHost(bucket);
  await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
  const replaced = await storage.save({ ...ref, files: Y, replace: true });
  await waitForStatus(storage, replaced, 'verified');
  await quiet(storage);
  await evict(storage);
  const keys = await keysOf(bucket, ref.projectId);
  await forget(ref.projectId);
  await storage.learnChanges();
  await quiet(storage);
  expect(await storage.show(ref)).toMatchObject({ status: 'verified', failure: null });
  expect(await rowsOf(ref.projectId)).toEqual([
    { digest: replaced.digest, status: 'verified', object_key: keys[0] },
  ]);
  expect(await keysOf(bucket, ref.projectId)).toEqual(keys);
  expect(await textsOf(storage, ref)).toEqual(Y);
});

test('what another host packed and this one evicted is found, its content proven', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { a, b } = await twoHosts(bucket, ref);
  await evict(b.storage);
  await a.storage.close();
  await forget(ref.projectId);
  await b.storage.resend();
  await quiet(b.storage);
  expect(await b.storage.show(ref)).toMatchObject({ status: 'verified', failure: null });
  const [row] = await rowsOf(ref.projectId);
  expect([row!.object_key]).toEqual(await keysOf(bucket, ref.projectId));
  expect(await textsOf(b.storage, ref)).toEqual(X);
});

test('what this host evicted, and the database expects again, is found', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage } = await startHost(bucket);
  await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
  await quiet(storage);
  await evict(storage);
  const [key] = await keysOf(bucket, ref.projectId);
  await expectUnder(key!, ref);
  await storage.resend();
  await quiet(storage);
  expect(await rowsOf(ref.projectId)).toMatchObject([{ status: 'verified' }]);
  expect(await textsOf(storage, ref)).toEqual(X);
});

test.each(['this host', 'another host'])(
  'what %s packed and this one evicted, and the database expects under another key, is found',
  async (whose) => {
    const bucket = uniqueId('bucket');
    const ref = newRef();
    const { a, b } = await twoHosts(bucket, ref);
    const { storage } = whose === 'this host' ? a : b;
    await quiet(storage);
    await evict(storage);
    await expectUnder(`${ref.projectId}/generations/v1__g.0123456789ab.tar.gz`, ref);
    await storage.resend();
    await quiet(storage);
    expect(await storage.show(ref)).toMatchObject({ status: 'verified', failure: null });
    const keys = await keysOf(bucket, ref.projectId);
    expect(keys).toHaveLength(1);
    expect(await rowsOf(ref.projectId)).toMatchObject([
      { status: 'verified', object_key: keys[0] },
    ]);
    expect(await textsOf(storage, ref)).toEqual(X);
  },
);

test('of what lies under two keys then, one goes', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage } = await startHost(bucket);
  await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
  await quiet(storage);
  await evict(storage);
  const other = `${ref.projectId}/generations/v1__g.0123456789ab.tar.gz`;
  const [key] = await keysOf(bucket, ref.projectId);
  await serviceClient().storage.from(bucket).copy(key!, other);
  await expectUnder(other, ref);
  await storage.resend();
  await quiet(storage);
  expect(await rowsOf(ref.projectId)).toMatchObject([{ status: 'verified', object_key: other }]);
  expect(await keysOf(bucket, ref.projectId)).toEqual([other]);
  expect(await textsOf(storage, ref)).toEqual(X);
});

/** Has the database know of one archive, which a host is about to send. */
async function expectUnder(key: string, { projectId }: ReturnType<typeof newRef>): Promise<void> {
  const service = serviceClient();
  const pending = { status: 'pending', uploaded_at: null, verified_at: null, object_key: key };
  await service.from('storage_generations').update(pending).eq('project_id', projectId);
  const archives = service.from('storage_archives');
  const { data } = await archives.select().match({ project_id: projectId, state: 'current' });
  await archives.delete().eq('project_id', projectId);
  const expected = { state: 'expected', current_at: null, object_key: key };
  const { error } = await archives.insert({ ...data![0], ...expected });
  expect(error).toBeNull();
}

test('a replacement that was evicted goes before what it took the place of, and was never sent', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage } = await startHost(bucket);
  const first = await storage.save({ ...ref, files: X });
  await waitForStatus(storage, first, 'verified');
  const replaced = await storage.save({ ...ref, files: Y, replace: true });
  await waitForStatus(storage, replaced, 'verified');
  await quiet(storage);
  await evict(storage);
  // A database of when the first was reserved; it never got to the bucket.
  const service = serviceClient();
  const key = `${ref.projectId}/generations/v1__g.tar.gz`;
  const pending = { status: 'pending', uploaded_at: null, verified_at: null };
  const row = { ...pending, digest: first.digest, object_key: key };
  await service.from('storage_generations').update(row).eq('project_id', ref.projectId);
  const archives = () => service.from('storage_archives');
  await archives().delete().eq('project_id', ref.projectId).neq('object_key', key);
  const expected = { state: 'expected', current_at: null, purge_at: null };
  await archives().update(expected).eq('project_id', ref.projectId);
  await service.storage.from(bucket).remove([key]);
  await storage.resend();
  await quiet(storage);
  expect(await storage.show(ref)).toMatchObject({ status: 'verified', failure: null });
  expect(await rowsOf(ref.projectId)).toMatchObject([
    { status: 'verified', digest: replaced.digest },
  ]);
  expect(await textsOf(storage, ref)).toEqual(Y);
});

test('a replacement that lies in the store leaves no second object', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const storage = await startReplacing(bucket, ref, [X, Y]);
  await forget(ref.projectId);
  await storage.learnChanges();
  await quiet(storage);
  const [row] = await rowsOf(ref.projectId);
  expect(row).toMatchObject({ status: 'verified' });
  expect(await keysOf(bucket, ref.projectId)).toEqual([row!.object_key]);
});

test.each([
  ['replaced', (storage: Storage, ref: Ref) => storage.save({ ...ref, files: Y, replace: true })],
  [
    'replaced twice',
    async (storage: Storage, ref: Ref) => {
      await storage.save({ ...ref, files: Y, replace: true });
      await storage.save({ ...ref, files: { a: 'Z' }, replace: true });
    },
  ],
])('%s before the host hears that the database was put back, nothing stays', async (_, change) => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const storage = await startReplacing(bucket, ref, [{ a: 'W' }, X]);
  await forget(ref.projectId);
  await change(storage, ref);
  await quiet(storage);
  const rows = await rowsOf(ref.projectId);
  expect(await keysOf(bucket, ref.projectId)).toEqual(rows.map((row) => row.object_key));
});

test.each([
  ['kept here', 'knows nothing of it'],
  ['not kept here', 'knows nothing of it'],
  ['kept here', 'expects it'],
  ['not kept here', 'expects it'],
  ['kept here', 'expects it elsewhere'],
  ['not kept here', 'expects it elsewhere'],
])(
  'deleted before the host hears that the database was put back, it can be undone: %s, the database %s',
  async (where, what) => {
    const bucket = uniqueId('bucket');
    const ref = newRef();
    const storage = await startReplacing(bucket, ref, [X, Y]);
    if (where === 'not kept here') await evict(storage);
    const [key] = await keysOf(bucket, ref.projectId);
    const elsewhere = `${ref.projectId}/generations/v1__g.0123456789ab.tar.gz`;
    if (what === 'knows nothing of it') await forget(ref.projectId);
    else await expectUnder(what === 'expects it' ? key! : elsewhere, ref);
    await storage.delete(ref);
    await quiet(storage);
    expect(await rowsOf(ref.projectId, 'status')).toEqual([{ status: 'deleted' }]);
    // Of what is not kept nothing stays.
    expect(await keysOf(bucket, ref.projectId)).toEqual([]);
    const other = await startHost(bucket);
    expect(await other.storage.undelete(ref)).toMatchObject({ undeleted: true });
    await quiet(other.storage);
    expect(await textsOf(other.storage, ref)).toEqual(Y);
    const rows = await rowsOf(ref.projectId);
    expect(await keysOf(bucket, ref.projectId)).toEqual(rows.map((row) => row.object_key));
  },
);

test.each(['the one that packed it', 'the other'])(
  'of two hosts with one content %s may be the first to say so',
  async (which) => {
    const bucket = uniqueId('bucket');
    const ref = newRef();
    const { a, b } = await twoHosts(bucket, ref);
    await forget(ref.projectId);
    const order = which === 'the other' ? [b, a] : [a, b];
    for (const { storage } of order) {
      await storage.resend();
      await quiet(storage);
    }
    for (const { storage, problems } of order) {
      expect(await storage.show(ref), problems.join()).toMatchObject({ status: 'verified' });
    }
    const [row] = await rowsOf(ref.projectId);
    expect(await keysOf(bucket, ref.projectId)).toEqual([row!.object_key]);
  },
);

test('rows that migrate made of the bucket are filled in by the host that has the content', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const a = await startHost(bucket);
  const saved = await a.storage.save({ ...ref, files: X });
  await waitForStatus(a.storage, saved, 'verified');
  await forget(ref.projectId);
  const [key] = await keysOf(bucket, ref.projectId);
  const operator = await startHost(bucket);
  await operator.storage.recordArchive(ref, key!, null);
  expect(await rowsOf(ref.projectId, 'digest')).toEqual([{ digest: null }]);
  await a.storage.resend();
  await quiet(a.storage);
  expect(await a.storage.show(ref)).toMatchObject({ status: 'verified', failure: null });
  expect(await rowsOf(ref.projectId, 'digest')).toEqual([{ digest: saved.digest }]);

  // Another host that saved other content under the name is told.
  const c = await startHost(bucket);
  await serviceClient()
    .from('storage_generations')
    .update({ digest: null })
    .eq('project_id', ref.projectId);
  await c.storage.save({ ...ref, files: Y });
  await quiet(c.storage);
  expect(await c.storage.show(ref)).toMatchObject({
    status: 'failed',
    failure: expect.stringContaining('other content'),
  });
  expect(await keysOf(bucket, ref.projectId)).toEqual([key]);
});

test('of two archives of one version that only the bucket has, the second stays where it is', async () => {
  const bucket = uniqueId('bucket');
  const { projectId } = newRef();
  const { storage } = await startHost(bucket);
  const first = await storage.save({ projectId, version: 1, generationId: 'a', files: X });
  await waitForStatus(storage, first, 'verified');
  const [key] = await keysOf(bucket, projectId);
  const second = `${projectId}/generations/v1__b.tar.gz`;
  await serviceClient().storage.from(bucket).copy(key!, second);
  await forget(projectId);
  const other = await startHost(bucket);
  await other.storage.recordArchive({ projectId, version: 1, generationId: 'a' }, key!, null);
  const b = { projectId, version: 1, generationId: 'b' };
  await expect(other.storage.recordArchive(b, second, null)).rejects.toMatchObject({
    code: 'conflict',
  });
  const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
  await serviceClient()
    .from('storage_archives')
    .update({ state_at: hourAgo })
    .eq('project_id', projectId);
  await other.storage.removeUnneeded();
  expect(await keysOf(bucket, projectId)).toEqual([key, second]);
});

test('what cannot be recorded for good is parked with the reason', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage } = await startHost(bucket);
  const [ada, grace] = [await makeUser(), await makeUser()];
  const saved = await storage.save({ ...ref, files: X, ownerId: ada.id });
  await waitForStatus(storage, saved, 'verified');
  await quiet(storage);
  await evict(storage);
  await forget(ref.projectId);
  const other = await startHost(bucket);
  await other.storage.save({ ...ref, version: 2, generationId: 'o', files: Y, ownerId: grace.id });
  await quiet(other.storage);
  await storage.resend();
  await quiet(storage);
  expect(await storage.show(ref)).toMatchObject({
    status: 'failed',
    failure: expect.stringContaining('another owner'),
  });
});
