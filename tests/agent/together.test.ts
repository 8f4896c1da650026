/** What goes to the cloud in one request: several generations, of which each has its own fate. */
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { connect } from '../../node-agent/cloud/connection.ts';
import { RecordsBySecretKey } from '../../node-agent/cloud/records.ts';
import type { Manifest } from '../../node-agent/contract.ts';
import type { Storage } from '../../node-agent/index.ts';
import { together } from '../../node-agent/upload/together.ts';
import { openCatalog } from '../support/catalog.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { any, type FaultProxy, first, startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const BUCKET = uniqueId('bucket');
const RESERVE = /rpc\/storage_reserve_generations/;
const RECORD = /rpc\/storage_record_generations/;
const PUT = /^POST \/storage\/v1\/object\/bucket-/;

/** What was saved while the cloud was off, and is owed when it is on. */
async function saveOwed(projectId: string, count: number, special: Record<number, object> = {}) {
  const storePath = await tempFolder();
  const away = await openTestStorage({ storePath });
  for (let version = 1; version <= count; version++) {
    await away.save({ projectId, version, files: { n: `${version}` }, ...special[version] });
  }
  await away.close();
  return storePath;
}

async function settled(storage: Storage, projectId: string, count: number) {
  const isOpen = ({ status }: { status: string }) => status === 'pending' || status === 'uploaded';
  for (;;) {
    await storage.drain(1000);
    const all = [];
    for (let version = 1; version <= count; version++) {
      all.push(await storage.show({ projectId, version }));
    }
    if (!all.some(isOpen)) return all;
  }
}

function count(proxy: FaultProxy, match: RegExp): number {
  return proxy.seen.filter((line) => match.test(line)).length;
}

test('many that are owed are reserved and recorded in few requests', async () => {
  const projectId = uniqueId();
  const storePath = await saveOwed(projectId, 40);
  await serviceClient().storage.createBucket(BUCKET, { public: false });
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  const storage = await openTestStorage({ storePath, cloud });
  for (const { status } of await settled(storage, projectId, 40)) expect(status).toBe('verified');
  expect(count(proxy, PUT)).toBe(40);
  expect(count(proxy, RESERVE)).toBe(2);
  expect(count(proxy, RECORD)).toBeLessThan(20);
  const rows = serviceClient().from('storage_generations').select('version, status');
  const { data } = await rows.eq('project_id', projectId).eq('status', 'verified');
  expect(data).toHaveLength(40);
});

test('one that is refused fails alone, and is named', async () => {
  const projectId = uniqueId();
  // PostgreSQL has no such character.
  const storePath = await saveOwed(projectId, 6, { 4: { metadata: { note: 'a\u0000b' } } });
  const storage = await openTestStorage({ storePath, cloud: testCloud(BUCKET) });
  const all = await settled(storage, projectId, 6);
  expect(all.filter(({ status }) => status === 'verified')).toHaveLength(5);
  expect(all[3]).toMatchObject({ status: 'failed', failure: expect.stringContaining(' v4"') });
});

test('an archive that cannot be read fails its own alone', async () => {
  const projectId = uniqueId();
  const storePath = await saveOwed(projectId, 3);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  // The cloud is away until the damage is done.
  proxy.rule = () => ({ kind: 'down' });
  const storage = await openTestStorage({ storePath, cloud });
  const { path } = await storage.archive({ projectId, version: 2 });
  await writeFile(path, (await readFile(path)).fill(0, 20));
  proxy.rule = () => null;
  await storage.retryParked();
  await waitForStatus(storage, { projectId, version: 1 }, 'verified');
  await waitForStatus(storage, { projectId, version: 3 }, 'verified');
  // Those that failed together come back in any order.
  for (;;) {
    const { items } = await storage.uploads();
    expect(items).toMatchObject([{ version: 2 }]);
    if (items[0]!.failure?.includes('archive')) break;
    await storage.drain(100);
    await sleep(10);
  }
});

test('while the cloud is away each is told of by its own name, and none is lost', async () => {
  const projectId = uniqueId();
  const storePath = await saveOwed(projectId, 5);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  proxy.rule = any(
    first(1, RESERVE, { kind: 'answer', status: 503 }),
    first(1, RECORD, { kind: 'lose' }),
  );
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  const problems = new Set<string>();
  const storage = await openTestStorage({
    storePath,
    cloud,
    // All at once again.
    random: () => 0,
    onProblem: (error) => problems.add((error as Error).message),
  });
  for (const { status } of await settled(storage, projectId, 5)) expect(status).toBe('verified');
  for (let version = 1; version <= 5; version++) {
    const name = `"${projectId} v${version}"`;
    expect(problems).toContain(`Cannot reserve ${name}: the database answered 503`);
  }
  // Those that failed together are tried one by one.
  expect(count(proxy, RESERVE)).toBe(6);
});

test('one failed request of many is one failure, no outage', async () => {
  const projectId = uniqueId();
  const storePath = await saveOwed(projectId, 5);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  let paused = false;
  proxy.rule = first(1, RESERVE, { kind: 'answer', status: 503 });
  const storage = await openTestStorage({
    storePath,
    cloud,
    random: () => 1,
    onProblem: async () => {
      paused ||= (await storage.status()).outbox.paused;
    },
  });
  await settled(storage, projectId, 5);
  expect(paused).toBe(false);
});

test('a request carries the names of 2000 files at most, or of one generation', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  const records = new RecordsBySecretKey(await connect(cloud, new AbortController().signal));
  const projectId = uniqueId();
  const read: number[] = [];
  const results = await records.recordAll(
    [900, 900, 900, 6000, 1].map((fileCount, i) => ({
      ref: { projectId, version: i + 1, generationId: 'g' },
      objectKey: 'k',
      ...{ sha256: 's', status: 'uploaded', fileCount },
      readDetails: () => {
        // Not before its turn: all of them at once may not fit.
        read.push(proxy.seen.length);
        return { manifest: {} as Manifest, blockIndex: null, md5: 'm' };
      },
    })),
  );
  expect(results.map((result) => result.status === 'fulfilled' && result.value)).toMatchObject(
    Array.from({ length: 5 }, () => ({ outcome: 'missing' })),
  );
  expect(read).toEqual([0, 0, 1, 2, 3]);
});

test('what was packed again since its upload is not recorded', async () => {
  const projectId = uniqueId();
  const storePath = await saveOwed(projectId, 1);
  const catalog = openCatalog(storePath);
  catalog.exec(`update jobs set step = 'record', uploaded_sha256 = 'another'`);
  catalog.close();
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  const storage = await openTestStorage({ storePath, cloud });
  await waitForStatus(storage, { projectId, version: 1 }, 'verified');
  const first = proxy.seen.findIndex((line) => RECORD.test(line));
  expect(first).toBeGreaterThan(proxy.seen.findIndex((line) => PUT.test(line)));
});

test('what was replaced before its upload was recorded is not called uploaded', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(BUCKET), url: proxy.url };
  // It waits for as long as this takes.
  const now = Date.now();
  const storage = await openTestStorage({ cloud, now: () => now });
  const slow = { projectId: uniqueId(), version: 1 };
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  // While one upload is under way, what is uploaded waits to be recorded with it.
  proxy.rule = (method, path) =>
    PUT.test(`${method} ${path}`) && path.includes(slow.projectId) ? { kind: 'stall' } : null;
  await storage.save({ ...slow, files: { a: '1' } });
  await storage.save({ ...ref, files: { a: '1' } });
  for (;;) {
    const { items } = await storage.uploads();
    if (items.some(({ step, projectId }) => projectId === ref.projectId && step === 'record'))
      break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  proxy.rule = (method, path) => (PUT.test(`${method} ${path}`) ? { kind: 'stall' } : null);
  await storage.save({ ...ref, files: { a: '2' }, replace: true });
  for (;;) {
    const { items } = await storage.uploads();
    const own = items.filter(({ projectId }) => projectId === ref.projectId);
    if (own.length === 1 && own[0]!.step === 'upload') break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const rows = serviceClient().from('storage_generations').select('status, object_key');
  expect((await rows.eq('project_id', ref.projectId)).data).toEqual([
    { status: 'pending', object_key: `${ref.projectId}/generations/v1__g.tar.gz` },
  ]);
});

describe('together', () => {
  const answerAll = (asked: number[][]) => async (questions: number[]) => {
    asked.push(questions);
    return questions.map((question) =>
      question < 0
        ? ({ status: 'rejected', reason: new Error(`not ${question}`) } as const)
        : ({ status: 'fulfilled', value: question * 2 } as const),
    );
  };

  test('asks once, and gives each the answer to its own question', async () => {
    const asked: number[][] = [];
    const results = await together(['1', '-2', '3'], answerAll(asked), async (member, ask) =>
      ask(Number(member)),
    );
    expect(asked).toEqual([[1, -2, 3]]);
    expect(results).toMatchObject([
      { value: 2 },
      { status: 'rejected', reason: { message: 'not -2' } },
      { value: 6 },
    ]);
  });

  test('waits for no one who ended without a question', async () => {
    const asked: number[][] = [];
    const results = await together(
      ['1', 'none', 'fails'],
      answerAll(asked),
      async (member, ask) => {
        if (member === '1') return ask(1);
        await new Promise((resolve) => setImmediate(resolve));
        if (member === 'fails') throw new Error('It failed before');
        return null;
      },
    );
    expect(asked).toEqual([[1]]);
    expect(results).toMatchObject([{ value: 2 }, { value: null }, { status: 'rejected' }]);
  });

  test('asks nothing where nobody did', async () => {
    const asked: number[][] = [];
    await together(['1', '2'], answerAll(asked), async () => null);
    expect(asked).toEqual([]);
  });
});
