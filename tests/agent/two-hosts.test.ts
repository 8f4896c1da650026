/** What two hosts on one cloud do to each other, and what is done to the cloud behind their back. */
import { randomUUID } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import type { Receipt, Storage } from '../../node-agent/index.ts';
import { isByHostKey } from '../support/by-host-key.ts';
import { makeUser, serviceClient, uniqueId, userClient } from '../support/cloud.ts';
import { asUser, callInProcess } from '../support/edge.ts';
import { first } from '../support/fault-proxy.ts';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import { testCache, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';
import {
  evict,
  forget,
  keysOf,
  newRef,
  rowsOf,
  startHost,
  textsOf,
  until,
} from '../support/two-hosts.ts';

const PUT = /^POST \/storage\/v1\/object\/bucket-/;
const RESERVE = /^POST \/rest\/v1\/rpc\/storage_reserve_generation/;
const isFailed = (storage: Storage, ref: Receipt | ReturnType<typeof newRef>) => async () =>
  (await storage.show(ref)).status === 'failed';

test('an upload that was held up does not undo the replacement of another host', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const a = await startHost(bucket);
  const held = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  // Storage takes the bytes of A, and its answer is held up until B is done.
  a.proxy.hold = async (line) => {
    if (!PUT.test(line)) return;
    arrived.resolve();
    await held.promise;
  };
  await a.storage.save({ ...ref, files: { a: 'X' } });
  await arrived.promise;
  const b = await startHost(bucket);
  await b.storage.save({ ...ref, files: { a: 'X' } });
  const replaced = await b.storage.save({ ...ref, files: { a: 'Y' }, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  held.resolve();

  await until(isFailed(a.storage, ref));
  expect(await a.storage.show(ref)).toMatchObject({
    failure: expect.stringContaining('another host replaced it'),
  });
  expect(a.events).toContainEqual(
    expect.objectContaining({
      kind: 'generation.conflict',
      reason: 'another host replaced it',
      ...ref,
    }),
  );
  const [row] = await rowsOf(ref.projectId);
  expect(row).toMatchObject({ digest: replaced.digest, status: 'verified' });
  await until(async () => (await a.storage.status()).outbox.owed === 0);
  expect(await keysOf(bucket, ref.projectId)).toEqual([row!.object_key]);

  // Both give the same, also once nothing of it is left on the host.
  expect(await textsOf(a.storage, ref)).toEqual({ a: 'Y' });
  await evict(b.storage);
  expect(await textsOf(b.storage, ref)).toEqual({ a: 'Y' });
  expect(await a.storage.cleanupStore({ olderThanMs: -1000 })).toMatchObject({ evicted: 0 });
  // What A had saved is still there, and can be had under a version of its own.
  const moved = await a.storage.renumber(ref);
  expect(moved.version).toBe(2);
  await waitForStatus(a.storage, moved, 'verified');
  expect(await textsOf(a.storage, moved)).toEqual({ a: 'X' });
  expect(await textsOf(a.storage, { ...ref, generationId: ref.generationId })).toEqual({ a: 'X' });
});

test('what another host replaced before it was this one’s turn is not sent at all', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const a = await startHost(bucket);
  const held = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  a.proxy.delay = async (line) => {
    if (!RESERVE.test(line)) return;
    arrived.resolve();
    await held.promise;
  };
  await a.storage.save({ ...ref, files: { a: 'X' } });
  await arrived.promise;
  const b = await startHost(bucket);
  await waitForStatus(b.storage, await b.storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  const replaced = await b.storage.save({ ...ref, files: { a: 'Y' }, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  held.resolve();

  await until(isFailed(a.storage, ref));
  expect(a.proxy.seen.filter((line) => PUT.test(line))).toEqual([]);
  const [row] = await rowsOf(ref.projectId);
  expect(row).toMatchObject({ digest: replaced.digest, status: 'verified' });
  expect(await keysOf(bucket, ref.projectId)).toEqual([row!.object_key]);
  expect(await textsOf(a.storage, ref)).toEqual({ a: 'Y' });
});

test('a host is told what another replaced, and follows', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const [a, b, evicted] = [
    await startHost(bucket),
    await startHost(bucket),
    await startHost(bucket),
  ];
  for (const { storage } of [a, b, evicted]) {
    await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  }
  await evict(evicted.storage);
  const replaced = await b.storage.save({ ...ref, files: { a: 'Y' }, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  for (const { storage, events } of [a, evicted]) {
    await storage.learnChanges();
    expect(events.filter(({ kind }) => kind === 'generation.conflict')).toHaveLength(1);
    expect(await textsOf(storage, ref)).toEqual({ a: 'Y' });
    expect(await storage.learnChanges()).toBe(0);
  }
  expect((await a.storage.show(ref)).status).toBe('failed');
  expect(await evicted.storage.show(ref)).toMatchObject({ digest: replaced.digest });
  // With the cloud away it gives what it has, and says that it is old.
  a.proxy.rule = () => ({ kind: 'down' });
  rmSync(join((await a.storage.get(ref)).path), { recursive: true });
  const old = await a.storage.get(ref);
  expect([old.from, old.stale, readTexts(old.sourcePath)]).toEqual(['store', true, { a: 'X' }]);
});

test('of two replacements at once one stays, the other is told', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  for (const { storage } of [a, b]) {
    await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  }
  a.proxy.rule = (_, path) =>
    path.includes('storage_record') ? { kind: 'answer', status: 503 } : null;
  await a.storage.save({ ...ref, files: { a: 'of A' }, replace: true });
  await until(async () => (await keysOf(bucket, ref.projectId)).length === 2);
  const ofB = await b.storage.save({ ...ref, files: { a: 'of B' }, replace: true });
  await waitForStatus(b.storage, ofB, 'verified');
  a.proxy.rule = () => null;
  await until(isFailed(a.storage, ref));
  expect(await rowsOf(ref.projectId)).toMatchObject([{ digest: ofB.digest }]);
  expect(await textsOf(a.storage, ref)).toEqual({ a: 'of B' });
  await until(async () => (await keysOf(bucket, ref.projectId)).length === 1);
});

test.each([
  ['other bytes of the same size, and no metadata', (bytes: Buffer) => bytes.fill(7)],
  ['one byte that is another', (bytes: Buffer) => bytes.fill(bytes[40]! ^ 1, 40, 41)],
])('an object overwritten with %s does not take the only good copy', async (_, change) => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage, problems } = await startHost(bucket);
  await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  const [key] = await keysOf(bucket, ref.projectId);
  const objects = serviceClient().storage.from(bucket);
  const bytes = Buffer.from(await (await objects.download(key!)).data!.arrayBuffer());
  const type = { contentType: 'application/gzip', upsert: true };
  await objects.upload(key!, change(Buffer.from(bytes)), type);
  // Once its tree lasts it may go.
  await until(async () => {
    expect(await storage.cleanupStore({ olderThanMs: -1000 })).toMatchObject({ evicted: 0 });
    return problems.some(({ message }) => message.includes('Cannot evict'));
  });
  // It is sent again.
  await until(async () => {
    // By the key of a host under another key: what was there is not to be removed by it.
    for (const sent of await keysOf(bucket, ref.projectId)) {
      const { data } = await objects.download(sent);
      if (data !== null && Buffer.from(await data.arrayBuffer()).equals(bytes)) return true;
    }
    return false;
  });
  await waitForStatus(storage, ref as Receipt, 'verified');
  await evict(storage);
  expect(await textsOf(storage, ref)).toEqual({ a: 'X' });
});

test('what storage said that it took, and has not, is sent again', async () => {
  const bucket = uniqueId('bucket');
  const { storage, proxy } = await startHost(bucket);
  const body = { Key: 'bucket/key', Id: randomUUID() };
  proxy.rule = first(2, PUT, { kind: 'answer', status: 200, body });
  const receipt = await storage.save({ ...newRef(), files: { a: 'X' } });
  await waitForStatus(storage, receipt, 'verified');
  expect(await keysOf(bucket, receipt.projectId)).toHaveLength(1);
});

test('an object that was removed is noticed by url and verify, and sent again', async () => {
  const bucket = uniqueId('bucket');
  const { storage } = await startHost(bucket);
  const receipt = await storage.save({ ...newRef(), files: { a: 'X' } });
  await waitForStatus(storage, receipt, 'verified');
  const remove = async () => {
    await serviceClient()
      .storage.from(bucket)
      .remove(await keysOf(bucket, receipt.projectId));
  };
  const isThere = async () => (await keysOf(bucket, receipt.projectId)).length === 1;
  await remove();
  // As where a daemon runs on this store.
  storage.announce('http://127.0.0.1:1');
  expect((await storage.downloadUrl(receipt))?.url).toMatch(/^http:\/\/127\.0\.0\.1:1\//);
  await until(isThere);
  await waitForStatus(storage, receipt, 'verified');
  expect((await fetch((await storage.downloadUrl(receipt))!.url)).status).toBe(200);

  await remove();
  const found: string[] = [];
  for await (const { problems } of storage.verify()) {
    found.push(...problems.map(({ reason }) => reason));
  }
  expect(found).toEqual(['it is not in the bucket']);
  await until(isThere);
});

test.each([
  ['restored from before the upload', false],
  ['another one, and the bucket empty', true],
])('a database that is %s is noticed, and told all again', async (_, isEmpty) => {
  const bucket = uniqueId('bucket');
  const { storage, events, problems } = await startHost(bucket);
  const projectId = uniqueId();
  const ref = { projectId, version: 1, generationId: 'g' };
  await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  const gone = await storage.save({ projectId, version: 2, files: { a: 'deleted' } });
  await waitForStatus(storage, gone, 'verified');
  await storage.delete(gone);
  await until(async () => (await storage.status()).outbox.owed === 0);
  await storage.learnChanges();
  await forget(projectId);
  if (isEmpty) {
    await serviceClient()
      .storage.from(bucket)
      .remove(await keysOf(bucket, projectId));
  }
  const verified = [];
  for await (const { problems } of storage.verify()) verified.push(...problems);
  expect(verified).toMatchObject([{ reason: 'the database has no row' }]);

  await storage.learnChanges();
  expect(events).toContainEqual(expect.objectContaining({ kind: 'cloud.older' }));
  expect(problems.map(({ message }) => message).join()).toContain('knows less than it did');
  await until(async () => {
    const rows = await rowsOf(projectId, 'version, status');
    return (
      (await storage.status()).outbox.owed === 0 &&
      rows.some(({ status }) => status === 'verified') &&
      rows.some(({ status }) => status === 'deleted')
    );
  });
  expect(await keysOf(bucket, projectId)).toHaveLength(1);
  // Nothing more is found the next time.
  events.length = 0;
  await storage.learnChanges();
  expect(events).not.toContainEqual(expect.objectContaining({ kind: 'cloud.older' }));
});

test('uploads resend asks for everything, and migrate too sees an empty bucket', async () => {
  const bucket = uniqueId('bucket');
  const { storage, storePath } = await startHost(bucket);
  const receipt = await storage.save({ ...newRef(), files: { a: 'X' } });
  await waitForStatus(storage, receipt, 'verified');
  await storage.close();
  const empty = async () => {
    await serviceClient()
      .storage.from(bucket)
      .remove(await keysOf(bucket, receipt.projectId));
  };
  const env = {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: inject('stack').SUPABASE_URL,
    SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: bucket,
    FILE_STORAGE_PATH: storePath,
    CACHE_PATH: await tempFolder(),
  };
  await empty();
  const resent = await runCli(['uploads', 'resend', '--json'], env);
  expect([resent.code, JSON.parse(resent.stdout)]).toEqual([0, { owed: 1 }]);
  expect(await keysOf(bucket, receipt.projectId)).toHaveLength(1);
  await empty();
  const migrated = await runCli(['migrate', '--json'], env);
  expect(JSON.parse(migrated.stdout)).toMatchObject({ verified: 1, failed: 0 });
  expect(await keysOf(bucket, receipt.projectId)).toHaveLength(1);
  for (const wrong of [
    ['uploads', 'resend', 'p', '1'],
    ['uploads', 'renumber', 'p'],
    ['uploads', 'x'],
  ]) {
    expect((await runCli(wrong, env)).code, wrong.join(' ')).toBe(2);
  }
});

test('of replacements that fail at the database nothing is left in the bucket', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage, proxy } = await startHost(bucket);
  await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  proxy.rule = (_, path) =>
    path.includes('storage_record_generations') ? { kind: 'answer', status: 503 } : null;
  const seen = new Set<string>();
  for (const [i, text] of ['Y', 'Z'].entries()) {
    await storage.save({ ...ref, files: { a: text }, replace: true });
    await until(async () => {
      for (const key of await keysOf(bucket, ref.projectId)) seen.add(key);
      return seen.size === i + 2;
    });
  }
  proxy.rule = () => null;
  await storage.delete(ref);
  await until(async () => (await storage.status()).outbox.owed === 0);
  expect(await keysOf(bucket, ref.projectId)).toEqual([]);
  expect(await rowsOf(ref.projectId)).toMatchObject([{ status: 'deleted' }]);
});

// By the key of a host the function removes them.
test.skipIf(isByHostKey)(
  'an object that its host could not remove is removed by another, also one that comes late',
  async () => {
    const bucket = uniqueId('bucket');
    const ref = newRef();
    const a = await startHost(bucket);
    await waitForStatus(a.storage, await a.storage.save({ ...ref, files: { a: 'X' } }), 'verified');
    const [key] = await keysOf(bucket, ref.projectId);
    await a.storage.delete(ref);
    await until(async () => (await rowsOf(ref.projectId))[0]?.status === 'deleted');
    await a.storage.close({ drainMs: 0 });
    // Purged by somebody who ended then.
    const purged = { p_project_id: ref.projectId, p_version: 1 };
    expect((await serviceClient().rpc('storage_give_up', purged)).error).toBeNull();
    const b = await startHost(bucket, { background: false });
    // Whoever made it unneeded gets a while.
    await b.storage.removeUnneeded();
    expect(await keysOf(bucket, ref.projectId)).toEqual([key]);
    const archives = () => serviceClient().from('storage_archives');
    const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
    await archives().update({ state_at: hourAgo }).eq('project_id', ref.projectId);
    expect(await b.storage.removeUnneeded()).toBeGreaterThan(0);
    expect(await keysOf(bucket, ref.projectId)).toEqual([]);
    // An upload that was under way.
    await serviceClient().storage.from(bucket).upload(key!, 'late');
    await archives().update({ look_again_at: hourAgo }).eq('project_id', ref.projectId);
    expect(await b.storage.removeUnneeded()).toBeGreaterThan(0);
    expect(await keysOf(bucket, ref.projectId)).toEqual([]);
  },
);

// It looks at requests to PostgREST.
test.skipIf(isByHostKey)(
  'a new host gives no version that the cloud has, and asks once a project',
  async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const a = await startHost(bucket);
    for (const n of [1, 2, 3]) {
      const saved = await a.storage.save({ projectId, files: { a: `${n}` } });
      await waitForStatus(a.storage, saved, 'verified');
    }
    const b = await startHost(bucket);
    const mine = await b.storage.save({ projectId, files: { a: 'of B' } });
    expect([mine.version, mine.versionProvisional]).toEqual([4, false]);
    await b.storage.save({ projectId, files: { a: 'and again' } });
    const asked = b.proxy.seen.filter((line) => /GET .*select=version/.test(line));
    expect(asked).toHaveLength(1);
    // Kept beside the generations, for a host whose catalog is lost while the cloud is away.
    await b.storage.close();
    rmSync(join(b.storePath, '.codebegen-storage'), { recursive: true });
    rmSync(mine.path, { recursive: true });
    const again = await startHost(bucket, { storePath: b.storePath });
    again.proxy.rule = () => ({ kind: 'down' });
    const saved = await again.storage.save({ projectId, files: { a: 'x' } });
    expect(saved.version).toBeGreaterThan(4);
  },
);

test('a version that was given while the cloud was away moves on where it is taken', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const a = await startHost(bucket);
  const taken = await a.storage.save({ projectId, generationId: 'of-a', files: { a: 'A' } });
  await waitForStatus(a.storage, taken, 'verified');
  const b = await startHost(bucket);
  b.proxy.rule = () => ({ kind: 'down' });
  const receipt = await b.storage.save({ projectId, generationId: 'of-b', files: { a: 'B' } });
  expect([receipt.version, receipt.versionProvisional]).toEqual([1, true]);
  await b.storage.activate(receipt);
  b.proxy.rule = () => null;
  await until(() => b.events.some(({ kind }) => kind === 'generation.renumbered'));
  const moved = { projectId, version: 2, generationId: 'of-b' };
  expect(b.events).toContainEqual(
    expect.objectContaining({ kind: 'generation.renumbered', from: 1, ...moved }),
  );
  await waitForStatus(b.storage, moved, 'verified');
  expect(await b.storage.activeVersion(projectId)).toBe(2);
  // The old ref leads there with the generation id; without one it is the cloud's.
  expect(await b.storage.get(receipt)).toMatchObject({ version: 2, from: 'store' });
  expect(await b.storage.get({ projectId, version: 1 })).toMatchObject({
    generationId: 'of-a',
    from: 'cloud',
  });
  await b.storage.close();
  rmSync(join(b.storePath, '.codebegen-storage/catalog.sqlite'));
  const reopened = await startHost(bucket, { storePath: b.storePath });
  expect(await reopened.storage.get(receipt)).toMatchObject({ version: 2 });
  expect((await reopened.storage.list(projectId)).items).toMatchObject([{ version: 2 }]);
  // Waits for it: the rebuilt catalog owes it, and finds it there.
  await waitForStatus(reopened.storage, moved, 'verified');
  expect(await rowsOf(projectId, 'generation_id')).toHaveLength(2);
});

test('hosts that save into one project in turn never take a version from each other', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const hosts = [await startHost(bucket), await startHost(bucket)];
  for (let round = 0; round < 3; round++) {
    for (const [i, { storage }] of hosts.entries()) {
      const saved = await storage.save({ projectId, files: { a: `${round} ${i}` } });
      await until(async () => (await storage.status()).outbox.owed === 0);
      const { version, generationId } = saved;
      // The old ref leads to it with the generation id.
      expect(await storage.show({ projectId, version, generationId })).toMatchObject({
        status: 'verified',
      });
    }
  }
  const rows = await rowsOf(projectId, 'version, status');
  expect(rows).toHaveLength(6);
  for (const { storage } of hosts) expect((await storage.status()).outbox.parked).toBe(0);
});

test('a replacement by a host that never had the content is a replacement', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  await waitForStatus(a.storage, await a.storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  const replaced = await b.storage.save({ ...ref, files: { a: 'Y' }, replace: true });
  await waitForStatus(b.storage, replaced, 'verified');
  expect(await rowsOf(ref.projectId)).toMatchObject([{ digest: replaced.digest }]);
  await a.storage.learnChanges();
  expect(await textsOf(a.storage, ref)).toEqual({ a: 'Y' });
});

test('what is renumbered keeps its artifacts', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const a = await startHost(bucket);
  await waitForStatus(a.storage, await a.storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  const storePath = await tempFolder();
  const old = { ...ref, generationId: 'old' };
  new PythonStore(storePath).versioned(old, { 'a.py': 'a' }, { 'artifacts/log.txt': 'built' });
  const b = await startHost(bucket, { storePath });
  await b.storage.adopt(old);
  await until(isFailed(b.storage, old));
  const before = await b.storage.show(old);
  const to = await b.storage.renumber(old);
  await waitForStatus(b.storage, to, 'verified');
  expect((await b.storage.show(to)).digest).toBe(before.digest);
  const { path } = await b.storage.get(to);
  expect(readTexts(join(path, 'artifacts'))).toEqual({ 'log.txt': 'built' });
});

test('a version that the caller chose parks, and is renumbered by hand; deleting it hides nothing', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const a = await startHost(bucket);
  const taken = await a.storage.save({ projectId, version: 1, files: { a: 'A' } });
  await waitForStatus(a.storage, taken, 'verified');
  const [b, c] = [await startHost(bucket), await startHost(bucket)];
  for (const { storage } of [b, c]) {
    const parked = await storage.save({ projectId, version: 1, files: { a: 'B' } });
    await until(isFailed(storage, parked));
  }
  const moved = await b.storage.renumber({ projectId, version: 1 });
  await waitForStatus(b.storage, moved, 'verified');
  await expect(b.storage.renumber(moved)).rejects.toMatchObject({ code: 'conflict' });

  await c.storage.delete({ projectId, version: 1 });
  await until(async () => (await c.storage.status()).outbox.owed === 0);
  expect(await c.storage.get({ projectId, version: 1 })).toMatchObject({
    generationId: taken.generationId,
    from: 'cloud',
  });
  expect(await rowsOf(projectId, 'status')).not.toContainEqual({ status: 'deleted' });
});

// A transfer takes the secret key.
test.skipIf(isByHostKey)(
  'the cloud decides whose a project is; the operator can transfer it',
  async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const [ada, grace] = [await makeUser(), await makeUser()];
    const a = await startHost(bucket);
    const ofAda = await a.storage.save({
      projectId,
      version: 1,
      ownerId: ada.id,
      files: { a: '1' },
    });
    await waitForStatus(a.storage, ofAda, 'verified');
    const b = await startHost(bucket);
    const wrong = await b.storage.save({
      ...{ projectId, version: 2, ownerId: grace.id },
      files: { a: '2' },
    });
    await until(isFailed(b.storage, wrong));
    // Saves that name nobody are the owner's.
    const named = await b.storage.save({ projectId, version: 3, files: { a: '3' } });
    await waitForStatus(b.storage, named, 'verified');
    await expect(b.storage.setOwner(projectId, grace.id)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(ada.id),
    });
    expect(await b.storage.setOwner(projectId, ada.id)).toBe(false);
    await waitForStatus(b.storage, wrong, 'verified');

    expect(await b.storage.setOwner(projectId, grace.id, { transfer: true })).toBe(true);
    const seen = await userClient(grace).from('storage_projects').select('id');
    expect(seen.data).toEqual([{ id: projectId }]);
    expect((await userClient(ada).from('storage_projects').select('id')).data).toEqual([]);
  },
);

test('an owner that is set while a reservation is under way is set in the cloud', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const ada = await makeUser();
  const { storage, proxy } = await startHost(bucket);
  const arrived = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  // It was built without an owner, and is carried out after one was set.
  proxy.delay = async (line) => {
    if (!line.includes('storage_reserve')) return;
    arrived.resolve();
    await held.promise;
  };
  const receipt = await storage.save({ projectId, files: { a: '1' } });
  await arrived.promise;
  await storage.setOwner(projectId, ada.id);
  held.resolve();
  await waitForStatus(storage, receipt, 'verified');
  const seen = await userClient(ada).from('storage_projects').select('id');
  expect(seen.data).toEqual([{ id: projectId }]);
});

test('what is too large for the bucket is failed for the web user too, with the limit', async () => {
  const bucket = uniqueId('bucket');
  const ada = await makeUser();
  await serviceClient().storage.createBucket(bucket, { public: false, fileSizeLimit: 1000 });
  const { storage } = await startHost(bucket);
  const random = Array.from({ length: 100 }, () => randomUUID()).join('');
  const receipt = await storage.save({
    ...{ projectId: uniqueId(), ownerId: ada.id },
    files: { a: random },
  });
  await until(async () => (await rowsOf(receipt.projectId, 'status'))[0]?.status === 'failed');
  const { failure } = await storage.show(receipt);
  expect(failure).toContain(`the limit of the bucket "${bucket}", 1000 bytes`);
  const call = asUser(callInProcess(), ada);
  const shown = await (await call('GET', `/projects/${receipt.projectId}/1`)).json();
  expect(shown).toMatchObject({ status: 'failed', failure, download_url: null });
  const download = await call('POST', `/projects/${receipt.projectId}/1/download`);
  expect([download.status, (await download.json()).detail]).toEqual([
    409,
    expect.stringContaining('1000 bytes'),
  ]);
  // Raised, and tried again.
  await serviceClient().storage.updateBucket(bucket, { public: false, fileSizeLimit: 100_000 });
  expect(await storage.retryParked()).toBe(1);
  await waitForStatus(storage, receipt, 'verified');
  expect(await rowsOf(receipt.projectId, 'status, failure')).toEqual([
    { status: 'verified', failure: null },
  ]);
});

test('one host: what is got after two replacements is the last, not what was cached', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const cache = await testCache({ ttlMs: 86_400_000 });
  const { storage } = await startHost(bucket, { cache });
  await waitForStatus(storage, await storage.save({ ...ref, files: { a: 'X' } }), 'verified');
  await evict(storage);
  expect(await textsOf(storage, ref)).toEqual({ a: 'X' });
  const replaced = await storage.save({ ...ref, files: { a: 'Y' }, replace: true });
  await waitForStatus(storage, replaced, 'verified');
  await evict(storage);
  expect(existsSync(replaced.path)).toBe(false);
  expect(await textsOf(storage, ref)).toEqual({ a: 'Y' });
  expect(await storage.get(ref)).toMatchObject({ from: 'cache', stale: false });
});
