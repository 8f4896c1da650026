/** What comes of an upload when storage or the network fails, one failure after another. */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, inject, test } from 'vitest';
import type { Receipt, Storage } from '../../node-agent/index.ts';
import { isByHostKey } from '../support/by-host-key.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { type Fault, first, startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const UPLOAD = /^POST \/storage\/v1\/object\/bucket-/;
const CHUNK = /^PATCH \/storage\/v1\/upload\/resumable\//;
const RESERVE = /^POST \/rest\/v1\/rpc\/storage_reserve_generations/;
const SMALL = { 'a.txt': 'a' };
const big = () => ({ 'big.bin': randomBytes(14_000_000) });

test.each<[string, Fault]>([
  ['500', { kind: 'answer', status: 500 }],
  ['503', { kind: 'answer', status: 503 }],
  ['503 hidden in a 400', { kind: 'answer', status: 400, body: { statusCode: '503' } }],
  ['429', { kind: 'answer', status: 429 }],
  ['408', { kind: 'answer', status: 408 }],
  ['a body that is cut off', { kind: 'reset', afterBytes: 1 }],
  ['a refused connection', { kind: 'down' }],
  ['silence', { kind: 'stall' }],
  ['an answer that is lost after the object is stored', { kind: 'lose' }],
])('on %s the upload is tried again, and is right in the end', async (_, fault) => {
  const { storage, proxy } = await host();
  proxy.rule = first(2, UPLOAD, fault);
  const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
  await waitForStatus(storage, receipt, 'verified');
  await expectStored(storage, receipt);
});

test.each<[string, Fault, string]>([
  ['403', { kind: 'answer', status: 400, body: { statusCode: '403' } }, 'answered 403'],
  ['413', { kind: 'answer', status: 400, body: { statusCode: '413' } }, 'over what the project'],
])('on %s the upload is parked with the reason, and taken up by hand', async (_, fault, reason) => {
  const { storage, proxy } = await host();
  proxy.rule = (method, path) => (UPLOAD.test(`${method} ${path}`) ? fault : null);
  const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
  await storage.drain();
  expect(await storage.show(receipt)).toMatchObject({
    status: 'failed',
    failure: expect.stringContaining(reason),
  });
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 1 });
  expect(proxy.seen.filter((line) => UPLOAD.test(line))).toHaveLength(1);
  expect(await storage.get(receipt)).toMatchObject({ from: 'store' });

  proxy.rule = () => null;
  expect(await storage.retryParked()).toBe(1);
  await waitForStatus(storage, receipt, 'verified');
});

test.each<[string, RegExp, { status: number; text?: string; body?: object }]>([
  ['Storage', UPLOAD, { status: 503, text: 'busy' }],
  ['Storage, in its own words', UPLOAD, { status: 429, body: { statusCode: '429', message: 'm' } }],
  ['the database', RESERVE, { status: 503, text: '<html>busy</html>' }],
  [
    'the database, in its own words',
    RESERVE,
    { status: 503, body: { code: 'PGRST002', message: 'm' } },
  ],
  ['a page in its place', RESERVE, { status: 403, text: '<html>slow down</html>' }],
])('Retry-After of %s is honoured', async (_, path, answer) => {
  const { storage, proxy, clock } = await host();
  const fault: Fault = { kind: 'answer', headers: { 'retry-after': '120' }, ...answer };
  proxy.rule = first(1, path, fault);
  const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
  const before = Date.now();
  clock.frozen = true;
  await storage.drain();
  const { nextDueAt } = (await storage.status()).outbox;
  const wait = new Date(nextDueAt!).getTime() - before - clock.ahead;
  expect(wait).toBeGreaterThanOrEqual(119_000);
  expect(wait).toBeLessThan(150_000);
  clock.frozen = false;
  clock.ahead += 200_000;
  await waitForStatus(storage, receipt, 'verified');
});

test.each([
  ['Storage', { 'tus-resumable': '1.0.0' }],
  ['a gateway', {}],
])('Retry-After of %s is honoured in a chunked upload', async (_, more) => {
  const { storage, proxy, clock } = await host();
  const headers = { 'retry-after': '120', ...more };
  proxy.rule = first(1, CHUNK, { kind: 'answer', status: 429, text: 'slow down', headers });
  await storage.save({ projectId: uniqueId(), files: big() });
  const before = Date.now();
  clock.frozen = true;
  await storage.drain();
  const { nextDueAt } = (await storage.status()).outbox;
  expect(new Date(nextDueAt!).getTime() - before - clock.ahead).toBeGreaterThanOrEqual(119_000);
});

test('a chunked upload goes on at the offset that the server has, also after a restart', async () => {
  const { storage, proxy, storePath, cloud } = await host();
  proxy.rule = afterFirst(CHUNK, { kind: 'down' });
  const receipt = await storage.save({ projectId: uniqueId(), files: big() });
  await storage.drain(3000);
  expect((await storage.show(receipt)).status).toBe('pending');
  await storage.close({ drainMs: 0 });

  proxy.rule = () => null;
  proxy.seen.length = 0;
  const restarted = await openTestStorage({
    storePath,
    cloud,
    now: () => Date.now() + 3_600_000,
  });
  await waitForStatus(restarted, receipt, 'verified');
  await expectStored(restarted, receipt);
  // 14 MB are three chunks; one was there.
  expect(proxy.seen.filter((line) => CHUNK.test(line))).toHaveLength(2);
  expect(proxy.seen.filter((line) => line === 'POST /storage/v1/upload/resumable')).toEqual([]);
});

test.each<[string, Fault]>([
  ['a chunk that is cut off', { kind: 'reset', afterBytes: 1_000_000 }],
  ['a chunk whose answer is lost', { kind: 'lose' }],
  ['a server that forgot the upload', { kind: 'answer', status: 404 }],
  ['500', { kind: 'answer', status: 500 }],
])('a chunked upload survives %s', async (_, fault) => {
  const { storage, proxy } = await host();
  proxy.rule = first(1, CHUNK, fault);
  const receipt = await storage.save({ projectId: uniqueId(), files: big() });
  await waitForStatus(storage, receipt, 'verified');
  await expectStored(storage, receipt);
});

test('while the cloud is away one job at a time tries; save and get do not notice', async () => {
  const { storage, proxy, clock } = await host();
  clock.frozen = true;
  proxy.rule = () => ({ kind: 'down' });
  const receipts: Receipt[] = [];
  for (let i = 0; i < 20; i++) {
    receipts.push(await storage.save({ projectId: uniqueId(), files: SMALL }));
    expect(await storage.get(receipts[i]!)).toMatchObject({ from: 'store' });
  }
  await storage.drain();
  expect((await storage.status()).outbox).toMatchObject({ owed: 20, paused: true });
  // Four at once until the breaker opened, then one at a time: not every job has been tried.
  expect(proxy.seen.length).toBeLessThan(receipts.length);

  proxy.rule = () => null;
  clock.ahead += 400_000;
  for (const receipt of receipts) await waitForStatus(storage, receipt, 'verified');
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0, paused: false });
});

// The function `hosts` is of the migrations.
test.skipIf(isByHostKey)(
  'without the migrations an archive is uploaded, and recorded once they are there',
  async () => {
    const { storage, proxy, clock } = await host();
    const missing = { code: 'PGRST202', message: 'no such function' };
    proxy.rule = (_, path) =>
      path.startsWith('/rest/v1/') ? { kind: 'answer', status: 404, body: missing } : null;
    const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
    clock.frozen = true;
    await waitForStatus(storage, receipt, 'verified');
    await storage.drain(500);
    expect((await storage.status()).outbox).toMatchObject({ owed: 1, parked: 0, paused: false });
    const rows = () =>
      serviceClient()
        .from('storage_generations')
        .select('status')
        .eq('project_id', receipt.projectId);
    expect((await rows()).data).toEqual([]);

    proxy.rule = () => null;
    clock.frozen = false;
    clock.ahead += 600_000;
    while ((await storage.status()).outbox.owed > 0) {
      await storage.drain(1000);
      await sleep(10);
    }
    expect((await rows()).data).toEqual([{ status: 'verified' }]);
  },
);

/** A host whose way to the stack can be made to fail, and whose clock runs ahead at each failure. */
async function host() {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storePath = await tempFolder();
  const cloud = { ...testCloud(uniqueId('bucket')), url: proxy.url };
  const clock = { ahead: 0, frozen: false };
  const storage = await openTestStorage({
    storePath,
    cloud,
    timeouts: { requestMs: 3000, transferMs: 3000, silenceMs: 1000 },
    now: () => Date.now() + clock.ahead,
    random: () => 1,
    // What waits for a backoff is due at once: the test does not. Only after it was written down.
    onProblem: () =>
      setImmediate(() => {
        if (!clock.frozen) clock.ahead += 400_000;
      }),
  });
  return { storage, proxy, storePath, cloud, clock };
}

/** The object has the bytes of the receipt, and one row says so. */
async function expectStored(storage: Storage, receipt: Receipt): Promise<void> {
  const { objectKey, sha256 } = await storage.show(receipt);
  const service = serviceClient();
  const rows = await service
    .from('storage_generations')
    .select('bucket, status, sha256')
    .eq('project_id', receipt.projectId);
  expect(rows.data).toMatchObject([{ status: 'verified', sha256 }]);
  const object = await service.storage.from(rows.data![0]!.bucket).download(objectKey);
  const bytes = Buffer.from(await object.data!.arrayBuffer());
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
}

/** A fault for every request that matches but the first. */
function afterFirst(match: RegExp, fault: Fault) {
  let seen = 0;
  return (method: string, path: string) =>
    match.test(`${method} ${path}`) && ++seen > 1 ? fault : null;
}

test('what was refused for good does not hold up what took its place', async () => {
  const { storage, proxy } = await host();
  proxy.rule = first(1, UPLOAD, { kind: 'answer', status: 413 });
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  const arrived = new Promise<void>((resolve) => {
    const { rule } = proxy;
    proxy.rule = (method, path) => {
      if (UPLOAD.test(`${method} ${path}`)) resolve();
      return rule(method, path);
    };
  });
  await storage.save({ ...ref, files: { a: 'too large for the plan' } });
  await arrived;
  await storage.save({ ...ref, files: { a: 'small' }, replace: true });
  await waitForStatus(storage, ref, 'verified');
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
});

test('who asks to be left alone for a hundred years is asked again within the hour', async () => {
  const { storage, proxy } = await host();
  const headers = { 'retry-after': 'Fri, 01 Jan 2100 00:00:00 GMT' };
  proxy.rule = first(1, UPLOAD, { kind: 'answer', status: 503, headers });
  const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
  while ((await storage.uploads()).items[0]?.failure == null) await sleep(10);
  const { dueAt } = (await storage.uploads()).items[0]!;
  expect(Date.parse(dueAt!) - Date.now()).toBeLessThanOrEqual(3_600_000);
  await storage.retryParked();
  await waitForStatus(storage, receipt, 'verified');
});
