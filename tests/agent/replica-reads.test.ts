/** Reads go on while the cloud is away, or has lost something: a replica is asked. */
import { statSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import type { FakeS3 } from '../support/fake-s3.ts';
import { even, s3Replica, supabaseReplica } from '../support/replica.ts';
import { waitForStatus } from '../support/storage.ts';
import { evict, newRef, quiet, startHost, textsOf, until } from '../support/two-hosts.ts';

const X = { 'a.ts': 'X' };
const Y = { 'a.ts': 'Y' };

/** Two hosts on one bucket with a replica, the first of which saved a generation. */
async function twoHosts(make: typeof s3Replica | typeof supabaseReplica = s3Replica) {
  const bucket = uniqueId('bucket');
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  const made = await make();
  for (const { storage } of [a, b]) await storage.replicas.add(made.input);
  const ref = newRef();
  await save(a.storage, ref, X);
  await even(a.storage, made.input.name);
  return { a, b, ref, bucket, name: made.input.name, ...made };
}

async function save(storage: Storage, ref: ReturnType<typeof newRef>, files: object) {
  const given = { ...ref, files: files as Record<string, string>, replace: true };
  return waitForStatus(storage, await storage.save(given), 'verified');
}

/** Has the replica have the files of projects as they are. */
async function sync(storage: Storage, name: string) {
  await quiet(storage);
  await until(async () => (await storage.replicas.sync(name)).owed === 0);
}

const DOWN = () => ({ kind: 'down' }) as const;
const STALL = () => ({ kind: 'stall' }) as const;

test.each([
  ['S3', 'down', s3Replica, DOWN],
  ['S3', 'silent', s3Replica, STALL],
  ['Supabase', 'down', supabaseReplica, DOWN],
] as const)('by %s, while the cloud is %s', async (_, __, make, rule) => {
  const { b, ref } = await twoHosts(make);
  b.proxy.rule = rule;
  const got = await b.storage.get(ref);
  expect(got).toMatchObject({ from: 'replica', stale: true, version: 1 });
  expect(await textsOf(b.storage, ref)).toEqual(X);
  const reads = b.events.filter(({ kind }) => kind === 'generation.read');
  expect(reads[0]).toMatchObject({ from: 'replica', projectId: ref.projectId });
  // Once it is back it is asked whether that is what it has.
  b.proxy.rule = () => null;
  await until(async () => !(await b.storage.get(ref)).stale);
  expect(await b.storage.get(ref)).toMatchObject({ from: 'cache', stale: false });
});

test('what this host knows and keeps no more is read without a look into the bucket', async () => {
  const { a, ref, fake } = (await twoHosts()) as Awaited<ReturnType<typeof twoHosts>> & {
    fake: FakeS3;
  };
  await evict(a.storage);
  a.proxy.rule = DOWN;
  fake.asked.length = 0;
  expect(await a.storage.get(ref)).toMatchObject({ from: 'replica' });
  expect(fake.asked.map((line) => line.replace(/ .*\//, ' '))).toEqual(['GET v1__g.tar.gz']);
});

test('what the bucket lost, and the database knows, comes from the replica', async () => {
  const { b, ref, bucket } = await twoHosts();
  const key = `${ref.projectId}/generations/v1__g.tar.gz`;
  expect((await serviceClient().storage.from(bucket).remove([key])).error).toBeNull();
  expect(await b.storage.get(ref)).toMatchObject({ from: 'replica', stale: false });
});

test('of several contents that which it holds now', async () => {
  const { a, b, ref, name } = await twoHosts();
  await save(a.storage, ref, Y);
  await sync(a.storage, name);
  b.proxy.rule = DOWN;
  expect(await textsOf(b.storage, ref)).toEqual(Y);
});

test('what was deleted is not there, although its copy is kept', async () => {
  const { a, b, ref, name } = await twoHosts();
  await a.storage.delete(ref);
  await sync(a.storage, name);
  b.proxy.rule = DOWN;
  await expect(b.storage.get(ref)).rejects.toMatchObject({ code: 'unavailable' });
  await expect(b.storage.downloadUrl(ref)).rejects.toMatchObject({ code: 'unavailable' });
});

test('one that is damaged is not served; the next one is asked', async () => {
  const { a, b, ref, ...first } = await twoHosts();
  const { fake } = first as unknown as { fake: FakeS3 };
  const key = `${ref.projectId}/generations/v1__g.tar.gz`;
  const stored = fake.buckets.get('copies')!.get(key)!;
  stored.body = Buffer.from(stored.body);
  stored.body[stored.body.length >> 1]! ^= 1;
  b.proxy.rule = DOWN;
  await expect(b.storage.get(ref)).rejects.toMatchObject({ code: 'unavailable' });
  expect(b.problems.map(({ message }) => message).join()).toMatch(
    /^Cannot read from replica "far-.*": Cannot read the tar/,
  );

  b.proxy.rule = () => null;
  const second = await s3Replica();
  await a.storage.replicas.add(second.input);
  await even(a.storage, second.input.name);
  await b.storage.replicas.add(second.input);
  b.proxy.rule = DOWN;
  expect(await b.storage.get(ref)).toMatchObject({ from: 'replica' });
  expect(await textsOf(b.storage, ref)).toEqual(X);
});

test.each([
  ['S3', s3Replica],
  ['Supabase', supabaseReplica],
] as const)('a URL opens the copy while the cloud is away: %s', async (_, make) => {
  const { a, b, ref } = await twoHosts(make);
  const { path } = await a.storage.archive(ref);
  const { size } = statSync(path);
  for (const { storage, proxy } of [a, b]) {
    if (storage === a.storage) await evict(storage);
    proxy.rule = DOWN;
    const { url, size: told } = (await storage.downloadUrl(ref, { expiresIn: 60 }))!;
    const answer = await fetch(url);
    expect([answer.status, told]).toEqual([200, size]);
    expect((await answer.arrayBuffer()).byteLength).toBe(size);
    expect(answer.headers.get('content-disposition')).toContain(`${ref.projectId}-v1`);
  }
});

test('where no replica has it the cloud says what it said', async () => {
  const { a, b, bucket } = await twoHosts();
  const third = await startHost(bucket);
  a.proxy.rule = DOWN;
  const ref = newRef();
  await save(third.storage, ref, Y);
  b.proxy.rule = DOWN;
  await expect(b.storage.get(ref)).rejects.toMatchObject({ code: 'unavailable' });
  b.proxy.rule = () => null;
  const unknown = b.storage.get({ projectId: uniqueId(), version: 1 });
  await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
  expect(await b.storage.get(ref)).toMatchObject({ from: 'cloud' });
});
