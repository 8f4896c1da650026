/** Second copies: what is verified lies in a replica soon after, and what is purged goes from there. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import {
  even,
  keysIn,
  makeDue,
  newName,
  s3Replica,
  statusOf,
  supabaseReplica,
} from '../support/replica.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { evict, newRef, quiet, startHost, until } from '../support/two-hosts.ts';

const X = { 'a.ts': 'X' };
const Y = { 'a.ts': 'Y' };

async function saved(storage: Storage, ref = newRef(), files: Record<string, string> = X) {
  const receipt = await storage.save({ ...ref, files, replace: true });
  await waitForStatus(storage, receipt, 'verified');
  return receipt;
}

describe.each([
  ['S3', s3Replica],
  ['Supabase', supabaseReplica],
] as const)('a replica of %s', (_, make) => {
  test('gets what was there, and what comes; what is purged goes', async () => {
    const { storage } = await startHost(uniqueId('bucket'));
    const { input } = await make();
    const [ref, later] = [newRef(), newRef()];
    const first = await saved(storage, ref);
    await storage.replicas.add(input);
    await even(storage, input.name);
    await saved(storage, later);
    await even(storage, input.name);
    const keyOf = ({ projectId }: { projectId: string }) => `${projectId}/generations/v1__g.tar.gz`;
    expect(await keysIn(storage, input.name)).toEqual([keyOf(ref), keyOf(later)].sort());
    const copy = join(await tempFolder(), 'copy');
    const objects = await storage.replicas.open(input.name);
    await objects.download(keyOf(ref), copy);
    const { path } = await storage.archive(first);
    expect(await readFile(copy)).toEqual(await readFile(path));

    // Kept, for as long as that can be undone.
    await storage.delete(first);
    await quiet(storage);
    await even(storage, input.name);
    expect(await keysIn(storage, input.name)).toHaveLength(2);
    await makeDue(ref.projectId);
    await storage.purge();
    await until(async () => (await keysIn(storage, input.name)).length === 1);
    await even(storage, input.name);
    expect(await keysIn(storage, input.name)).toEqual([keyOf(later)]);
  });

  test('has the file of a project, as it is', async () => {
    const { storage } = await startHost(uniqueId('bucket'));
    const { input } = await make();
    await storage.replicas.add(input);
    const [owner, other] = await Promise.all([makeUser(), makeUser()]);
    const receipt = await saved(storage);
    await storage.setOwner(receipt.projectId, owner.id, { transfer: false });
    await quiet(storage);
    const objects = await storage.replicas.open(input.name);
    const read = async () =>
      JSON.parse((await objects.readText(`${receipt.projectId}/project.json`)) ?? '{}');
    await storage.replicas.sync(input.name);
    expect(await read()).toMatchObject({ owner_id: owner.id });
    await storage.setOwner(receipt.projectId, other.id, { transfer: true });
    await quiet(storage);
    await storage.replicas.sync(input.name);
    expect(await read()).toMatchObject({ owner_id: other.id });
  });

  test('what was replaced goes with what is kept of it', async () => {
    const { storage } = await startHost(uniqueId('bucket'));
    const { input } = await make();
    await storage.replicas.add(input);
    const ref = newRef();
    await saved(storage, ref, X);
    await even(storage, input.name);
    await saved(storage, ref, Y);
    await quiet(storage);
    await until(async () => (await keysIn(storage, input.name)).length === 2);
    await makeDue(ref.projectId);
    await storage.purge();
    await until(async () => (await keysIn(storage, input.name)).length === 1);
    await even(storage, input.name);
    const objects = await storage.replicas.open(input.name);
    const [key] = await keysIn(storage, input.name);
    expect(await objects.readBack(key!)).toBe((await storage.show(ref))!.sha256);
  });

  test('what is missing there, or not what it was, is found and copied again', async () => {
    const { storage } = await startHost(uniqueId('bucket'));
    const { input } = await make();
    await storage.replicas.add(input);
    const receipts = [await saved(storage), await saved(storage), await saved(storage)];
    await even(storage, input.name);
    const objects = await storage.replicas.open(input.name);
    const keys = receipts.map(({ projectId }) => `${projectId}/generations/v1__g.tar.gz`);
    await objects.remove(keys[0]!);
    await objects.putText(keys[1]!, 'not this');
    const found = async (repair: boolean) => {
      const problems = [];
      for await (const { key, reason, owed } of storage.replicas.check(input.name, { repair })) {
        if (reason !== null) problems.push([key, reason, owed]);
      }
      return problems.sort();
    };
    const expected = (owed: boolean) =>
      [
        [keys[0], 'nothing lies there', owed],
        [keys[1], 'other bytes lie there', owed],
      ].sort();
    expect(await found(false)).toEqual(expected(false));
    expect(await found(true)).toEqual(expected(true));
    await storage.replicas.sync(input.name);
    expect(await found(false)).toEqual([]);
  });
});

test('a copy costs the bucket no read where the host has the archive, else one', async () => {
  const { storage, proxy } = await startHost(uniqueId('bucket'));
  const { input } = await s3Replica();
  await saved(storage);
  await quiet(storage);
  await evict(storage);
  await saved(storage);
  await quiet(storage);
  const isRead = /^GET \/storage\/v1\/object\/(?!info)/;
  const reads = () => proxy.seen.filter((line) => isRead.test(line)).length;
  const before = reads();
  await storage.replicas.add(input);
  await even(storage, input.name);
  expect(reads() - before).toBe(1);
  expect(await keysIn(storage, input.name)).toHaveLength(2);
});

test('while a replica is away uploads go on; it is filled once it is back', async () => {
  const { storage, problems } = await startHost(uniqueId('bucket'));
  const { input, fake } = await s3Replica();
  await storage.replicas.add(input);
  fake.setFault(() => 'close');
  for (let n = 0; n < 8; n++) await saved(storage);
  await until(async () =>
    (await storage.replicas.list()).some(({ name, away }) => name === input.name && away !== null),
  );
  const status = await statusOf(storage, input.name);
  expect(status).toMatchObject({ copied: 0, owed: 8 });
  expect(status.failure).toContain(`replica "${input.name}" is out of reach`);
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, paused: false });
  // It is told of once.
  expect(problems.filter(({ message }) => message.includes(input.name))).toHaveLength(1);
  fake.setFault(null);
  await even(storage, input.name);
  expect(await keysIn(storage, input.name)).toHaveLength(8);
});

test('what one host was killed over another copies, and sync copies what others saved', async () => {
  const bucket = uniqueId('bucket');
  const { input, fake } = await s3Replica();
  const a = await openTestStorage({ cloud: testCloud(bucket), background: true });
  await a.replicas.add(input);
  fake.setFault(({ method }) => (method === 'PUT' ? 'hang' : null));
  const receipt = await saved(a);
  await until(() => fake.asked.some((line) => line.startsWith('PUT /copies/p-')));
  await a.close({ drainMs: 0 });
  fake.setFault(null);
  const b = await startHost(bucket);
  await b.storage.replicas.add(input);
  await b.storage.replicas.sync(input.name);
  expect(await keysIn(b.storage, input.name)).toEqual([
    `${receipt.projectId}/generations/v1__g.tar.gz`,
  ]);
});

test('a replica that nobody could use is not added', async () => {
  const { storage } = await startHost(uniqueId('bucket'));
  const { input, fake } = await s3Replica();
  fake.buckets.set('open', new Map());
  fake.open.add('open');
  const wrong = join(await tempFolder(), 'key');
  await writeFile(wrong, 'wrong');
  for (const [change, code, message] of [
    [{ name: 'Far Away' }, 'invalid_input', /name "Far Away" must be/],
    [{ kind: 'ftp' }, 'invalid_input', /no kind "ftp"; there are s3, supabase/],
    [{ url: 'ftp://a' }, 'invalid_input', /one of https/],
    [{ url: 'http://s3.example.com' }, 'invalid_input', /anybody reads along/],
    [{ url: 'https://u:p@s3.example.com' }, 'invalid_input', /user or a password/],
    [{ url: `${fake.url}?a=1` }, 'invalid_input', /query/],
    [{ region: undefined }, 'invalid_input', /region/],
    [{ region: 'us-east-1' }, 'invalid_input', /another region, "eu-central-1"/],
    [{ bucket: 'A' }, 'invalid_input', /bucket "A" must be/],
    [{ bucket: 'nowhere' }, 'not_found', /no such bucket: make it, private/],
    [{ bucket: 'open' }, 'forbidden', /public/],
    [{ keyId: undefined }, 'invalid_input', /--key-id/],
    [{ keyId: 'AKIAOTHER' }, 'unauthenticated', /InvalidAccessKeyId/],
    [{ keyFile: 'far.key' }, 'invalid_input', /absolute/],
    [
      { keyFile: '/nowhere/far.key' },
      'invalid_input',
      /"\/nowhere\/far.key", cannot be read \(ENOENT\)/,
    ],
    [{ keyFile: wrong }, 'unauthenticated', /SignatureDoesNotMatch/],
  ] as const) {
    const added = storage.replicas.add({ ...input, ...change } as typeof input);
    await expect(added, JSON.stringify(change)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  }
  expect(await storage.replicas.list()).toEqual([]);
  expect(fake.buckets.get('copies')!.size).toBe(0);
});

test('the bucket itself is no replica of it', async () => {
  const bucket = uniqueId('bucket');
  const storage = await openTestStorage({ cloud: testCloud(bucket) });
  await serviceClient().storage.createBucket(bucket, { public: false });
  const { input } = await supabaseReplica();
  await expect(storage.replicas.add({ ...input, bucket })).rejects.toMatchObject({
    code: 'invalid_input',
    message: expect.stringContaining('it is the bucket that generations are uploaded into'),
  });
});

test('without a cloud there is nothing to copy', async () => {
  const storage = await openTestStorage();
  const { input } = await s3Replica();
  await expect(storage.replicas.add(input)).rejects.toMatchObject({ code: 'unavailable' });
  await expect(storage.replicas.sync(newName())).rejects.toMatchObject({ code: 'not_found' });
});

test('removed, it gets nothing more; what lies there stays', async () => {
  const { storage } = await startHost(uniqueId('bucket'));
  const { input } = await s3Replica();
  await storage.replicas.add(input);
  await saved(storage);
  await even(storage, input.name);
  await storage.replicas.remove(input.name);
  await expect(storage.replicas.remove(input.name)).rejects.toMatchObject({ code: 'not_found' });
  await saved(storage);
  const [one] = await storage.replicas.list();
  expect(one).toMatchObject({ name: input.name, settings: null, copies: { copied: 1, owed: 1 } });
  await storage.replicas.add(input);
  await even(storage, input.name);
  expect(await keysIn(storage, input.name)).toHaveLength(2);
  await storage.replicas.remove(input.name, { forget: true });
  expect(await storage.replicas.list()).toEqual([]);
});

test('the file of its key is in no generation', async () => {
  const { storage } = await startHost(uniqueId('bucket'));
  const { input } = await s3Replica();
  const folder = await tempFolder();
  await writeFiles(folder, { 'a.ts': 'a', 'keys/far.txt': await readFile(input.keyFile, 'utf8') });
  await storage.replicas.add({ ...input, keyFile: join(folder, 'keys/far.txt') });
  const receipt = await storage.saveFolder({ projectId: newRef().projectId, folder });
  const generation = await storage.open(receipt);
  const paths = [...(await generation.files())].map(({ path }) => path);
  await generation.close();
  expect(paths).toEqual(['a.ts']);
});
