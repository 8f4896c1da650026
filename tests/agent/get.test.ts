import { randomBytes } from 'node:crypto';
import { existsSync, promises, statSync } from 'node:fs';
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import type { Receipt, Storage } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { first, startFaultProxy } from '../support/fault-proxy.ts';
import { run } from '../support/run.ts';
import { openTestStorage, testCache, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

const FILES = {
  'app/main.py': 'print(1)\n',
  'logo.bin': new Uint8Array(5000).fill(7),
  'e/f/g': '',
};
const DOWNLOAD = /^GET \/storage\/v1\/object\/bucket-/;
const TTL_MS = 3_600_000;

describe('get of what another host saved', () => {
  test('downloads once, then serves the copy without asking until its time is over', async () => {
    const { ref, reader, proxy, clock } = await savedElsewhere();
    const fetched = await reader.get(ref);
    expect(fetched).toMatchObject({ from: 'cloud', stale: false, generationId: 'g' });
    expect(readTree(fetched.sourcePath)).toEqual(asBuffers(FILES));
    proxy.seen.length = 0;
    expect(await reader.get(ref)).toMatchObject({
      from: 'cache',
      stale: false,
      path: fetched.path,
    });
    expect(proxy.seen).toEqual([]);

    clock.ahead = TTL_MS + 1;
    expect(await reader.get(ref)).toMatchObject({ from: 'cache', stale: false });
    expect(proxy.seen.filter((line) => DOWNLOAD.test(line))).toEqual([]);
    expect(proxy.seen.filter((line) => line.includes('/object/info/'))).toHaveLength(1);
    // Fresh again: nobody is asked.
    proxy.seen.length = 0;
    await reader.get(ref);
    expect(proxy.seen).toEqual([]);
  });

  test('brings large files back, and a manifest that comes in many pieces', async () => {
    const { writer, reader } = await savedElsewhere();
    const files = { a: randomBytes(300_000), b: 'b'.repeat(300_000), c: randomBytes(1000) };
    const metadata = { prompt: randomBytes(100_000).toString('hex') };
    const receipt = await writer.save({ projectId: uniqueId(), files, metadata });
    await waitForStatus(writer, receipt, 'verified');
    const fetched = await reader.get(receipt);
    expect(fetched.from).toBe('cloud');
    expect(fetched.manifest.metadata).toEqual(metadata);
    expect(readTree(fetched.sourcePath)).toEqual(asBuffers(files));
  });

  test('by 20 callers at once downloads once', async () => {
    const { ref, reader, proxy } = await savedElsewhere();
    const all = await Promise.all(Array.from({ length: 20 }, () => reader.get(ref)));
    expect(new Set(all.map((each) => each.path)).size).toBe(1);
    expect(proxy.seen.filter((line) => DOWNLOAD.test(line))).toHaveLength(1);
  });

  test('past its time with the cloud away serves the copy and says that it is stale', async () => {
    const { ref, reader, proxy, clock } = await savedElsewhere();
    await reader.get(ref);
    clock.ahead = TTL_MS + 1;
    proxy.rule = () => ({ kind: 'down' });
    expect(await reader.get(ref)).toMatchObject({ from: 'cache', stale: true });
    proxy.rule = () => null;
    expect(await reader.get(ref)).toMatchObject({ from: 'cache', stale: false });
  });

  test('past its time and deleted in the cloud is not_found', async () => {
    const { ref, reader, writer, clock } = await savedElsewhere();
    const { path } = await reader.get(ref);
    // What it looks for as it starts is over: else it may learn of the deletion by that, and remove the copy.
    await reader.learnChanges();
    await writer.delete(ref);
    await writer.drain();
    clock.ahead = TTL_MS + 1;
    await expect(reader.get(ref)).rejects.toMatchObject({ code: 'not_found' });
    expect(existsSync(path)).toBe(true);
  });

  test.each([
    ['a flipped byte', { kind: 'flip', at: 100 } as const],
    ['an answer that ends early', { kind: 'truncate', afterBytes: 100 } as const],
  ])('with %s fails or is fetched again, and never serves it', async (_, fault) => {
    const { ref, reader, proxy } = await savedElsewhere();
    proxy.rule = first(1, DOWNLOAD, fault);
    const got = await reader.get(ref).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'unavailable' });
      return reader.get(ref);
    });
    expect(readTree(got.sourcePath)).toEqual(asBuffers(FILES));

    const again = await savedElsewhere();
    again.proxy.rule = (method, path) => (DOWNLOAD.test(`${method} ${path}`) ? fault : null);
    await expect(again.reader.get(again.ref)).rejects.toMatchObject({
      code: expect.stringMatching(/corrupt|unavailable/),
    });
    expect(await entriesOf(again.cachePath)).toEqual([]);
  });

  test.each<[string, 'cache' | 'cloud', (path: string) => Promise<void>]>([
    ['the tree', 'cache', async () => {}],
    ['the tree, and of the archive a byte', 'cloud', (path) => flip(join(path, 'archive.tar.gz'))],
    ['the tree and the archive', 'cloud', (path) => rm(join(path, 'archive.tar.gz'))],
    ['the tree, and what says what it is', 'cloud', (path) => rm(join(path, '.entry.json'))],
  ])('of whose copy a power loss took %s gets it from the %s', async (_, from, harm) => {
    const { ref, reader, cachePath } = await savedElsewhere();
    const { path, sourcePath } = await reader.get(ref);
    await reader.close();
    await truncate(join(sourcePath, 'logo.bin'), 10);
    const tree = join(path, 'tree.json');
    await writeFile(
      tree,
      JSON.stringify({ ...JSON.parse(await readFile(tree, 'utf8')), boot: 'x' }),
    );
    await harm(path);
    const reopened = await openTestStorage({
      cloud: testCloud(bucketOf(ref)),
      cache: await testCache({ path: cachePath }),
    });
    const got = await reopened.get(ref);
    expect(readTree(got.sourcePath)).toEqual(asBuffers(FILES));
    expect(got.from).toBe(from);
  });

  test('of files alone reads the archive as it came, and makes no tree', async () => {
    const { ref, reader, cachePath, proxy } = await savedElsewhere();
    const file = await reader.openFile(ref, 'app/main.py');
    expect(await textOf(file.pieces())).toBe('print(1)\n');
    await file.close();
    const generation = await reader.open(ref, { isWhole: true });
    expect(generation.from).toBe('cache');
    expect((await generation.files()).map(({ path }) => path)).toEqual(Object.keys(FILES).sort());
    await generation.close();
    const [entry] = await entriesOf(cachePath);
    const folder = join(cachePath, ref.projectId, 'generations', entry!.split('/')[1]!);
    expect(await readdir(folder)).not.toContain('source');
    // A byte of it that is another is noticed, and it is fetched again.
    await flip(join(folder, 'archive.tar.gz'));
    const again = await reader.open(ref, { isWhole: true });
    expect(readTree((await reader.get(ref)).sourcePath)).toEqual(asBuffers(FILES));
    await again.close();
    expect(proxy.seen.filter((line) => DOWNLOAD.test(line))).toHaveLength(2);
  });

  test.each<[string, (folder: string) => Promise<void>]>([
    ['the manifest of its tree', (folder) => writeFile(join(folder, 'manifest.json'), '{')],
    ['its source folder', (folder) => rm(join(folder, 'source'), { recursive: true })],
  ])('of whose copy %s is spoilt lays it out again from its archive', async (_, harm) => {
    const { ref, reader, proxy } = await savedElsewhere();
    await harm((await reader.get(ref)).path);
    expect(readTree((await reader.get(ref)).sourcePath)).toEqual(asBuffers(FILES));
    expect(proxy.seen.filter((line) => DOWNLOAD.test(line))).toHaveLength(1);
  });

  test('of whose copy a file was edited reads the one that was saved', async () => {
    const { ref, reader } = await savedElsewhere();
    const { sourcePath } = await reader.get(ref);
    await writeFile(join(sourcePath, 'app/main.py'), 'print(2)\n');
    const file = await reader.openFile(ref, 'app/main.py');
    expect(await textOf(file.pieces())).toBe('print(1)\n');
    await file.close();
  });

  test('by two processes at once leaves whole what one of them handed out', async () => {
    const { ref, reader, cachePath } = await savedElsewhere();
    const options = {
      cloud: testCloud(bucketOf(ref)),
      cache: await testCache({ path: cachePath }),
    };
    const other = await openTestStorage(options);
    for (let round = 0; round < 5; round++) {
      // Of the archive alone first, then of both at once the tree.
      await (await reader.openFile(ref, 'app/main.py')).close();
      const gets = [reader, other].map(async (storage) => {
        const { sourcePath } = await storage.get(ref);
        return readTree(sourcePath);
      });
      for (const tree of await Promise.all(gets)) expect(tree).toEqual(asBuffers(FILES));
      const { path } = await reader.get(ref);
      await rm(join(path, 'tree.json'));
    }
  });

  test('passes over what lies in the cache and is no copy, which goes with the next cleanup', async () => {
    const { ref, reader, proxy, cachePath } = await savedElsewhere();
    const folder = join(cachePath, ref.projectId, 'generations');
    await writeFiles(join(folder, 'v1__a'), { 'source/x': 'x' });
    await reader.get(ref);
    const got = await reader.get({ projectId: ref.projectId, version: 1 });
    expect(got).toMatchObject({ from: 'cache', generationId: 'g' });
    // Nor does what keeps one from being read.
    await writeFiles(join(folder, 'v2__b'), { 'tree.json/x': 'x', '.entry.json': '{}' });
    expect(await reader.cleanupCache()).toMatchObject({ evicted: 2 });
    expect(await entriesOf(cachePath)).toEqual([`${ref.projectId}/v1__g`]);
    expect(proxy.seen.filter((line) => DOWNLOAD.test(line))).toHaveLength(1);
  });

  test('that nobody has is not_found; with the cloud away, unavailable; with it off, not_found', async () => {
    const { reader, proxy, ref } = await savedElsewhere();
    await expect(reader.get({ ...ref, version: 99 })).rejects.toMatchObject({ code: 'not_found' });
    await expect(reader.get({ ...ref, generationId: 'other' })).rejects.toMatchObject({
      code: 'not_found',
    });
    proxy.rule = () => ({ kind: 'down' });
    await expect(reader.get(ref)).rejects.toMatchObject({ code: 'unavailable' });
    const off = await openTestStorage();
    await expect(off.get(ref)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('finds it in the bucket where no database knows it', async () => {
    const { ref, proxy, reader } = await savedElsewhere();
    const noTable = { code: 'PGRST205', message: 'no such table' };
    proxy.rule = (_, path) =>
      path.startsWith('/rest/v1/') ? { kind: 'answer', status: 404, body: noTable } : null;
    const { generationId: _, ...place } = ref;
    const got = await reader.get(place);
    expect(got).toMatchObject({ from: 'cloud', generationId: 'g' });
    expect(readTree(got.sourcePath)).toEqual(asBuffers(FILES));
  });
});

test('get of what this host saved never asks the cloud', async () => {
  const { writer, ref, writerProxy } = await savedElsewhere();
  writerProxy.seen.length = 0;
  writerProxy.rule = () => ({ kind: 'stall' });
  expect(await writer.get(ref)).toMatchObject({ from: 'store', stale: false });
  expect(writerProxy.seen).toEqual([]);
});

test('the cache evicts what is old, then what is too much, never what was just used', async () => {
  const { reader, writer, clock, cachePath } = await savedElsewhere({ maxBytes: 12_000 });
  const refs: Receipt[] = [];
  for (let i = 0; i < 4; i++) {
    const receipt = await writer.save({ projectId: uniqueId(), generationId: 'g', files: FILES });
    await waitForStatus(writer, receipt, 'verified');
    refs.push(receipt);
  }
  const minute = 60_000;
  for (const ref of refs) {
    await reader.get(ref);
    clock.ahead += minute;
  }
  // All within ten minutes: whoever got them may be reading.
  expect(await reader.cleanupCache()).toMatchObject({ evicted: 0 });
  clock.ahead += 10 * minute;
  await reader.get(refs[0]!);
  // 4 × 5 009 bytes in trees and their archives: two must go, the least recently used ones.
  const gone = await Promise.all([1, 2].map((i) => writer.archive(refs[i]!)));
  const bytes = gone.reduce((sum, archive) => sum + archive.bytes, 2 * 5009);
  expect(await reader.cleanupCache()).toEqual({ evicted: 2, bytes });
  const left = (await entriesOf(cachePath)).map((name) => name.split('/')[0]).sort();
  expect(left).toEqual([refs[0]!.projectId, refs[3]!.projectId].sort());
  clock.ahead += 2 * TTL_MS;
  expect(await reader.cleanupCache()).toMatchObject({ evicted: 2 });
});

test('where the file system is nearly full the copies that were used least go, whatever the settings say', async () => {
  const { reader, writer, ref, clock, cachePath } = await savedElsewhere();
  const other = await writer.save({ projectId: uniqueId(), generationId: 'g', files: FILES });
  await waitForStatus(writer, other, 'verified');
  await reader.get(ref);
  clock.ahead = 11 * 60_000;
  await reader.get(other);
  expect(await reader.cleanupCache()).toEqual({ evicted: 0, bytes: 0 });
  const { statfs } = promises;
  onTestFinished(() => {
    promises.statfs = statfs;
    syncBuiltinESMExports();
  });
  promises.statfs = (async () => {
    return { blocks: 1000, bavail: 99, files: 0, ffree: 0 };
  }) as unknown as typeof statfs;
  syncBuiltinESMExports();
  // The other is in use.
  expect(await reader.cleanupCache()).toMatchObject({ evicted: 1 });
  expect(await entriesOf(cachePath)).toEqual([`${other.projectId}/v1__g`]);
});

test('archives of the old system, with one folder around everything, are read', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const folder = await tempFolder();
  const inner = join(folder, 'v3__gen-456');
  await writeFiles(inner, {
    'source/main.py': 'print(1)',
    'artifacts/build.log': 'ok',
    'manifest.json': JSON.stringify({
      generation_id: 'gen-456',
      project_id: projectId,
      version: 3,
      created_at: '2024-05-01T10:00:00',
      file_count: 1,
      total_size_bytes: 8,
      files: ['main.py'],
      metadata: {},
    }),
  });
  const archive = join(folder, 'a.tar.gz');
  expect((await run('tar', ['czf', archive, '-C', folder, 'v3__gen-456'])).code).toBe(0);
  const { storage } = serviceClient();
  await storage.createBucket(bucket, { public: false });
  const key = `${projectId}/generations/v3__gen-456.tar.gz`;
  await storage.from(bucket).upload(key, await readFile(archive));
  const reader = await openTestStorage({ cloud: testCloud(bucket) });
  const got = await reader.get({ projectId, version: 3 });
  expect(readTree(got.sourcePath)).toEqual({ 'main.py': Buffer.from('print(1)') });
  expect(got.manifest.metadata).toEqual({});
});

const buckets = new Map<string, string>();
const bucketOf = (ref: { projectId: string }) => buckets.get(ref.projectId)!;

/** A generation that one host saved and uploaded, and another host that has a cache only. */
async function savedElsewhere(cacheOptions: { maxBytes?: number } = {}) {
  const bucket = uniqueId('bucket');
  const writerProxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const writer: Storage = await openTestStorage({
    cloud: { ...testCloud(bucket), url: writerProxy.url },
  });
  const receipt = await writer.save({ projectId: uniqueId(), generationId: 'g', files: FILES });
  await waitForStatus(writer, receipt, 'verified');
  const clock = { ahead: 0 };
  const cache = await testCache({ ttlMs: TTL_MS, maxAgeMs: 2 * TTL_MS, ...cacheOptions });
  const reader: Storage = await openTestStorage({
    cloud: { ...testCloud(bucket), url: proxy.url },
    cache,
    now: () => Date.now() + clock.ahead,
  });
  const ref = { projectId: receipt.projectId, version: 1, generationId: 'g' };
  buckets.set(ref.projectId, bucket);
  return { ref, writer, reader, proxy, writerProxy, clock, cachePath: cache.path };
}

async function textOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(Uint8Array.from(piece));
  return Buffer.concat(all).toString();
}

/** Makes a byte in the middle of a file another. */
async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
}

/** `{project}/{folder}` of everything that is cached. */
async function entriesOf(cachePath: string): Promise<string[]> {
  const found: string[] = [];
  for (const project of (await readdir(cachePath)).filter((name) => !name.startsWith('.'))) {
    const names = await readdir(join(cachePath, project, 'generations'));
    found.push(...names.map((name) => `${project}/${name}`));
  }
  return found;
}

function asBuffers(files: Record<string, string | Uint8Array>): Record<string, Buffer> {
  return Object.fromEntries(
    Object.entries(files).map(([path, content]) => [path, Buffer.from(content as string)]),
  );
}

test('a copy that was handed out stays, whoever gets the same by another name', async () => {
  const { ref, reader } = await savedElsewhere();
  const { generationId: _, ...unnamed } = ref;
  const [one, two] = await Promise.all([reader.get(ref), reader.get(unnamed)]);
  expect(one.path).toBe(two.path);
  const { ino } = statSync(one.path);
  await reader.get(unnamed);
  expect(statSync(one.path).ino).toBe(ino);
  expect(readTree(one.sourcePath)).toEqual(asBuffers(FILES));
});
