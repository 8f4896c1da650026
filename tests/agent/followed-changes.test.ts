/** What another host or the web user changed is followed, and what was saved here meanwhile stays. */
import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { Layout } from '../../node-agent/store/layout.ts';
import { Tombstones } from '../../node-agent/store/tombstones.ts';
import { openCatalog } from '../support/catalog.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { waitForStatus } from '../support/storage.ts';
import { evict, newRef, quiet, rowsOf, startHost, textsOf, until } from '../support/two-hosts.ts';

const X = { a: 'X' };
const Y = { a: 'Y' };
const Z = { a: 'Z' };

async function twoHosts(bucket: string, ref: ReturnType<typeof newRef>) {
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  for (const { storage } of [a, b]) {
    await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
    await quiet(storage);
  }
  return { a, b };
}

test('a replacement of what was evicted does not take the place of what is saved meanwhile', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { a, b } = await twoHosts(bucket, ref);
  await evict(a.storage);
  const replaced = await b.storage.save({ ...ref, files: Y, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  // A has learnt of it, and asks for the row. What is saved then is reserved after that.
  let isSaved = false;
  const learnt = Promise.withResolvers<void>();
  a.proxy.hold = async (line) => {
    if (line.includes('rpc/storage_reserve')) await learnt.promise;
    const isRow = /^GET \/rest\/v1\/storage_generations.*object_key.*version=eq/.test(line);
    const isLearning = a.proxy.seen.some((seen) => seen.includes('rpc/storage_list_changes'));
    if (!isRow || !isLearning || isSaved) return;
    isSaved = true;
    await a.storage.save({ ...ref, files: Z, replace: true });
  };
  a.proxy.seen.length = 0;
  await a.storage.learnChanges();
  learnt.resolve();
  await quiet(a.storage);
  expect(isSaved).toBe(true);
  expect(await a.storage.show(ref)).toMatchObject({ status: 'verified' });
  expect(await textsOf(a.storage, ref)).toEqual(Z);
  await evict(a.storage);
  expect(await textsOf(a.storage, ref)).toEqual(Z);
});

/** Saves it in the place of what is there; `begun` once it has the generation to itself. */
function replaceSlowly(storage: Storage, storePath: string, ref: ReturnType<typeof newRef>) {
  const files = Array.from({ length: 2000 }, (_, i) => [`f${i}`, String(i)] as const);
  const saved = storage.save({ ...ref, files: new Map([...files, ['a', 'Z']]), replace: true });
  const catalog = openCatalog(storePath);
  const begun = until(
    () => catalog.prepare('select 1 from generations where instance_id is not null').get() != null,
  ).finally(() => catalog.close());
  return { saved, begun };
}

test.each(['the change feed', 'a reservation'])(
  'a deletion that is learnt by %s leaves what is saved in its place meanwhile',
  async (how) => {
    const bucket = uniqueId('bucket');
    const ref = newRef();
    const { a, b } = await twoHosts(bucket, ref);
    await b.storage.delete(ref);
    await quiet(b.storage);
    if (how === 'a reservation') {
      let isSaved = false;
      a.proxy.hold = async (line) => {
        if (isSaved || !line.includes('rpc/storage_reserve')) return;
        isSaved = true;
        await a.storage.save({ ...ref, files: Z, replace: true });
      };
      await a.storage.resend();
      await until(() => isSaved);
    } else {
      const { saved, begun } = replaceSlowly(a.storage, a.storePath, ref);
      await begun;
      await Promise.all([a.storage.learnChanges(), saved]);
    }
    await quiet(a.storage);
    expect(a.events.filter(({ kind }) => kind === 'generation.deleted')).toEqual([]);
    // It is told, and kept: under a version of its own it can be had.
    expect(await a.storage.show(ref)).toMatchObject({
      status: 'failed',
      failure: expect.stringContaining('deleted'),
    });
    const moved = await a.storage.renumber(ref);
    expect(await textsOf(a.storage, moved)).toMatchObject(Z);
  },
);

test('what was replaced elsewhere and put back there is verified again', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { a, b } = await twoHosts(bucket, ref);
  for (const files of [Y, X]) {
    const saved = await b.storage.save({ ...ref, files, replace: true });
    await waitForStatus(b.storage, saved, 'verified');
    await a.storage.learnChanges();
    await quiet(a.storage);
    expect((await a.storage.show(ref)).status).toBe(files === Y ? 'failed' : 'verified');
  }
});

test('what was kept of a replaced generation stays when the replacement is deleted', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { a, b } = await twoHosts(bucket, ref);
  const replaced = await b.storage.save({ ...ref, files: Y, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  await a.storage.learnChanges();
  await b.storage.delete(ref);
  await quiet(b.storage);
  await a.storage.learnChanges();
  await quiet(a.storage);
  const moved = await a.storage.renumber(ref);
  expect(await textsOf(a.storage, moved)).toEqual(X);
});

test('what was evicted and replaced elsewhere can be asked for again', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { a, b } = await twoHosts(bucket, ref);
  await evict(a.storage);
  const replaced = await b.storage.save({ ...ref, files: Y, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  await a.storage.learnChanges();
  await a.storage.resend();
  await quiet(a.storage);
  expect(await a.storage.show(ref)).toMatchObject({ status: 'verified', failure: null });
  expect(await textsOf(a.storage, ref)).toEqual(Y);
});

test('a deletion that could not be followed is followed after a restart', async () => {
  const bucket = uniqueId('bucket');
  const [first, second] = [newRef(), newRef()];
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  for (const ref of [first, second]) {
    for (const { storage } of [a, b]) {
      await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
    }
    await b.storage.delete(ref);
  }
  await quiet(b.storage);
  // So far apart that a look back from the second does not come to the first; other tests, which share
  // the database, look back as far from now.
  for (const [{ projectId }, seconds] of [
    [first, -585],
    [second, 30],
  ] as const) {
    const at = new Date(Date.now() + seconds * 1000).toISOString();
    const rows = serviceClient().from('storage_generations').update({ deleted_at: at });
    expect((await rows.eq('project_id', projectId)).error).toBeNull();
  }
  const inTheWay = new Layout(a.storePath).tombstones(first.projectId);
  mkdirSync(inTheWay, { recursive: true });
  await a.storage.learnChanges();
  expect(await a.storage.show(first)).toMatchObject({ status: 'verified' });
  await a.storage.close();
  rmdirSync(inTheWay);
  const again = await startHost(bucket, { storePath: a.storePath });
  await again.storage.learnChanges();
  await expect(again.storage.show(first)).rejects.toMatchObject({ code: 'not_found' });
});

test('a deletion is of content also where the catalog was lost', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { a, b } = await twoHosts(bucket, ref);
  a.proxy.rule = () => ({ kind: 'down' });
  await a.storage.delete(ref);
  await a.storage.close({ drainMs: 0 });
  const replaced = await b.storage.save({ ...ref, files: Y, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(`${new Layout(a.storePath).catalog}${suffix}`, { force: true });
  }
  const again = await startHost(bucket, { storePath: a.storePath });
  await again.storage.scanned(10_000);
  await quiet(again.storage);
  expect(await rowsOf(ref.projectId, 'digest, status')).toEqual([
    { digest: replaced.digest, status: 'verified' },
  ]);
  expect(await textsOf(again.storage, ref)).toEqual(Y);
});

test.each(['before the cloud had it', 'once the cloud had it', 'again and again'])(
  'a deletion that comes late, after it was undone %s, deletes nothing',
  async (when) => {
    const bucket = uniqueId('bucket');
    const ref = newRef();
    const { storage, proxy, storePath } = await startHost(bucket);
    const away = () => ({ kind: 'down' }) as const;
    if (when === 'before the cloud had it') proxy.rule = away;
    const { digest } = await storage.save({ ...ref, files: X });
    if (when !== 'before the cloud had it') await waitForStatus(storage, ref, 'verified');
    const rounds = when === 'again and again' ? 2 : 1;
    const catalog = openCatalog(storePath);
    onTestFinished(() => catalog.close());
    const late: object[] = [];
    for (let round = 0; round < rounds; round++) {
      proxy.rule = away;
      await storage.delete(ref);
      // What is on its way to the cloud, and does not get there yet.
      const { cloud_epoch } = catalog.prepare('select cloud_epoch from generations').get()!;
      const { value: hostId } = catalog
        .prepare(`select value from meta where key = 'host_id'`)
        .get()!;
      const deletedAt = new Tombstones(new Layout(storePath)).deletedAt(ref);
      late.push({
        ...{ p_bucket: bucket, p_project_id: ref.projectId, p_version: 1, p_generation_id: 'g' },
        ...{ p_digests: [digest], p_deleted_at: deletedAt, p_epoch: cloud_epoch },
        p_host_id: hostId,
      });
      expect(await storage.undelete(ref)).toMatchObject({ undeleted: true });
      proxy.rule = () => null;
      await waitForStatus(storage, ref, 'verified');
      await quiet(storage);
      for (const args of late) {
        const { data, error } = await serviceClient().rpc('storage_record_deletion', args);
        expect([error, data]).toEqual([null, expect.objectContaining({ outcome: 'undeleted' })]);
      }
    }
    await storage.learnChanges();
    await quiet(storage);
    expect(await storage.show(ref)).toMatchObject({ status: 'verified' });
    expect(await rowsOf(ref.projectId, 'status')).toEqual([{ status: 'verified' }]);
    // What is deleted after that is.
    await storage.delete(ref);
    await quiet(storage);
    expect(await rowsOf(ref.projectId, 'status')).toEqual([{ status: 'deleted' }]);
  },
);
