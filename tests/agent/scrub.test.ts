/** Everything is read once in some days, a part at a time, and what is damaged is mended from the other good copy. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import type { Receipt, Storage, StorageOptions } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, testCache, testCloud } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { evict, overwrite, quiet, textsOf } from '../support/two-hosts.ts';

const HOUR_MS = 3_600_000;

/** A host with generations that the cloud has, and a clock that is set by hand. */
async function host(count: number, options: Partial<StorageOptions> = {}) {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const cache = await testCache({ maxAgeMs: 1e12, ttlMs: 1e12 });
  const storePath = await tempFolder();
  const events: Extract<StorageEvent, { kind: 'generation.damaged' }>[] = [];
  let now = Date.now();
  const given = {
    ...{ storePath, cache, cloud: testCloud(bucket), scrubDays: 1, now: () => now },
    onEvent: (event: StorageEvent) => {
      if (event.kind === 'generation.damaged') events.push(event);
    },
    ...options,
  };
  const storage = await openTestStorage(given);
  const saved: Receipt[] = [];
  for (let i = 0; i < count; i++) saved.push(await storage.save({ projectId, files: files(i) }));
  if (given.cloud === null) for (const receipt of saved) await storage.archive(receipt);
  else await quiet(storage);
  const pass = (ms: number) => {
    now += ms;
  };
  const reopen = async (from: Storage) => {
    await from.close();
    return openTestStorage(given);
  };
  return { storage, bucket, projectId, saved, storePath, cache, events, pass, reopen };
}

const files = (i: number) => ({ 'a.txt': `${i}`.repeat(2000), 'd/b.txt': 'b' });

/** Changes one bit in the middle of a file. */
function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
}

test('all is read once in so many days, in parts, whoever reads them', async () => {
  const { storage, pass, reopen } = await host(48);
  // Two an hour; the first part is of the hour before it.
  expect(await storage.scrub()).toEqual({ checked: 2, damaged: 0 });
  pass(HOUR_MS / 4);
  expect(await storage.scrub()).toEqual({ checked: 0, damaged: 0 });
  pass(HOUR_MS / 4);
  expect(await storage.scrub()).toEqual({ checked: 1, damaged: 0 });
  const other = await reopen(storage);
  expect((await other.status()).scrub).toMatchObject({ checked: 3, damaged: 0, endedAt: null });
  pass(22 * HOUR_MS);
  expect(await other.scrub()).toEqual({ checked: 44, damaged: 0 });
  pass(HOUR_MS);
  expect(await other.scrub()).toEqual({ checked: 1, damaged: 0 });
  expect((await other.status()).scrub).toMatchObject({ checked: 0, endedAt: expect.any(String) });
  pass(-100 * HOUR_MS);
  expect(await other.scrub()).toEqual({ checked: 0, damaged: 0 });
});

test('0 days read nothing', async () => {
  const { storage, pass } = await host(1, { scrubDays: 0 });
  pass(1000 * HOUR_MS);
  expect(await storage.scrub()).toEqual({ checked: 0, damaged: 0 });
});

test('what is damaged in the store, in a copy, or in the cloud is mended, and told of', async () => {
  const { storage, bucket, projectId, saved, storePath, cache, events, pass } = await host(4);
  const [one, two, three, four] = saved as [Receipt, Receipt, Receipt, Receipt];
  const folder = ({ version, generationId }: Receipt, root = storePath) =>
    join(root, projectId, `generations/v${version}__${generationId}`);
  flip(join(folder(one), 'archive.tar.gz'));
  const key = `${projectId}/generations/v2__${two.generationId}.tar.gz`;
  await overwrite(bucket, key);
  const gone = `${projectId}/generations/v3__${three.generationId}.tar.gz`;
  await serviceClient().storage.from(bucket).remove([gone]);
  // From then on time counts.
  await storage.scrub();
  pass(24 * HOUR_MS);
  const found = await storage.scrub();
  expect(found).toEqual({ checked: 4, damaged: 3 });
  const told = events.map(({ version, where, mended }) => [version, where, mended]);
  expect(told).toEqual([
    [1, 'store', true],
    [2, 'cloud', true],
    [3, 'cloud', true],
  ]);
  await quiet(storage);
  for await (const { problems } of storage.verify({ projectId })) expect(problems).toEqual([]);
  for (const [i, receipt] of saved.entries()) {
    expect(await textsOf(storage, receipt)).toEqual(files(i));
  }

  events.length = 0;
  await evict(storage);
  expect((await storage.get(four)).from).toBe('cloud');
  flip(join(folder(four, cache.path), 'archive.tar.gz'));
  pass(24 * HOUR_MS);
  await storage.scrub();
  expect(events.map(({ version, where, mended }) => [version, where, mended])).toEqual([
    [4, 'cache', true],
  ]);
  expect((await storage.get(four)).from).toBe('cloud');
  expect(await textsOf(storage, four)).toEqual(files(3));
});

test('what has no other good copy is told of, and stays as it is', async () => {
  const { storage, projectId, saved, storePath, events, pass } = await host(1, { cloud: null });
  const [receipt] = saved as [Receipt];
  const path = join(storePath, projectId, `generations/v1__${receipt.generationId}/archive.tar.gz`);
  flip(path);
  const damaged = readFileSync(path);
  await storage.scrub();
  pass(24 * HOUR_MS);
  expect(await storage.scrub()).toEqual({ checked: 1, damaged: 1 });
  expect(events).toMatchObject([{ where: 'store', mended: false, version: 1 }]);
  expect(readFileSync(path)).toEqual(damaged);
});

test('while the cloud is away the store is read; a scrub that is ended goes on where it was', async () => {
  const bucket = uniqueId('bucket');
  const first = await host(3, { cloud: testCloud(bucket) });
  await first.storage.close();
  const proxy = await startFaultProxy(testCloud(bucket).url);
  const { storePath, saved, projectId, cache } = first;
  let now = Date.now();
  const events: StorageEvent[] = [];
  const storage = await openTestStorage({
    ...{ storePath, cache, cloud: { ...testCloud(bucket), url: proxy.url }, scrubDays: 1 },
    now: () => now,
    onEvent: (event) => events.push(event),
  });
  await storage.scrub();
  now += 24 * HOUR_MS;
  const ended = AbortSignal.abort();
  expect(await storage.scrub(ended)).toEqual({ checked: 0, damaged: 0 });
  proxy.rule = () => ({ kind: 'down' });
  const { generationId } = saved[0]!;
  flip(join(storePath, projectId, `generations/v1__${generationId}/archive.tar.gz`));
  // What only the cloud can mend waits for it.
  expect(await storage.scrub()).toEqual({ checked: 0, damaged: 0 });
  const told = events.filter(({ kind }) => kind === 'generation.damaged');
  expect(told.at(-1)).toMatchObject({ where: 'store', mended: false });
  proxy.rule = () => null;
  expect(await storage.scrub()).toEqual({ checked: 3, damaged: 1 });
  expect(await textsOf(storage, saved[0]!)).toEqual(files(0));
});

test('a damaged tree of a copy costs no archive', async () => {
  const { storage, projectId, saved, cache, events, pass } = await host(1);
  const [receipt] = saved as [Receipt];
  await storage.scrub();
  await evict(storage);
  const { path, sourcePath } = await storage.get(receipt);
  expect(path.startsWith(cache.path)).toBe(true);
  const archive = readFileSync(join(path, 'archive.tar.gz'));
  writeFileSync(join(sourcePath, 'a.txt'), 'edited');
  pass(24 * HOUR_MS);
  await storage.scrub();
  expect(events).toMatchObject([{ where: 'cache', mended: true, projectId }]);
  expect(readFileSync(join(path, 'archive.tar.gz'))).toEqual(archive);
  expect(await textsOf(storage, receipt)).toEqual(files(0));
});
