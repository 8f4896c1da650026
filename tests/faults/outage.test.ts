/** What the agent makes of a cloud that is away, refuses it, or is not the one that answers. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { connect } from '../../node-agent/cloud/connection.ts';
import { ObjectsBySecretKey } from '../../node-agent/cloud/objects.ts';
import { parseRetryAfter } from '../../node-agent/cloud/retry-after.ts';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import type { StorageOptions } from '../../node-agent/index.ts';
import { atOnce } from '../support/at-once.ts';
import { openCatalog } from '../support/catalog.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { any, type Fault, first, type Rule, startFaultProxy } from '../support/fault-proxy.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const PUT = /^POST \/storage\/v1\/object\/bucket-/;
const HEAD = /^HEAD \/storage\/v1\/upload\/resumable\//;
const CHUNK = /^PATCH \/storage\/v1\/upload\/resumable\//;
const SMALL = { 'a.txt': 'a' };

async function host(options: Partial<StorageOptions> = {}) {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storePath = await tempFolder();
  const cloud = { ...testCloud(uniqueId('bucket')), url: proxy.url };
  const events: StorageEvent[] = [];
  const storage = await openTestStorage({
    ...{ storePath, cloud, random: () => 0 },
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { storage, proxy, storePath, cloud, events };
}

async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await sleep(10);
}

test('after an outage all lanes are at work after the longest wait, with 4, 16 and 64 of them', async () => {
  await Promise.all(
    [4, 16, 64].map(async (uploadConcurrency) => {
      // The longest waits that the jitter allows.
      const { storage, proxy, events } = await host({ uploadConcurrency, random: () => 1 });
      const counted = () => proxy.seen.filter((line) => PUT.test(line)).length;
      // The database is there all the while.
      proxy.rule = (_, path) =>
        path.startsWith('/storage/v1/object/bucket-') ? { kind: 'down' } : null;
      for (let i = 0; i < uploadConcurrency + 8; i++) {
        await storage.save({ projectId: uniqueId(), files: { a: `${i}` } });
      }
      await until(async () => (await storage.status()).outbox.paused);
      const tried = counted();
      await sleep(3500);
      // One at a time, while it is away.
      expect(counted() - tried).toBeLessThanOrEqual(4);
      // The first opens the way; then each waits until every lane has one.
      const all = Promise.withResolvers<void>();
      let running = -1;
      proxy.hold = async (line) => {
        if (!PUT.test(line) || ++running === 0) return;
        if (running === uploadConcurrency) all.resolve();
        await all.promise;
      };
      proxy.rule = () => null;
      const back = performance.now();
      await all.promise;
      // The longest wait is eight seconds. To begin takes as long as it does on a busy machine.
      expect(performance.now() - back).toBeLessThan(13_000);
      await until(async () => (await storage.status()).outbox.owed === 0);
      expect(events.filter(({ kind }) => kind === 'cloud.away')).toHaveLength(1);
      expect(events.filter(({ kind }) => kind === 'cloud.back')).toHaveLength(1);
    }),
  );
});

const refusals: [string, Fault][] = [
  ['401', { kind: 'answer', status: 401, body: { message: 'Invalid API key' } }],
  [
    '403 Invalid Compact JWS',
    {
      kind: 'answer',
      status: 400,
      body: { statusCode: '403', code: '403', message: 'Invalid Compact JWS' },
    },
  ],
  [
    '403 invalid signature',
    {
      kind: 'answer',
      status: 400,
      body: { statusCode: '403', error: 'Unauthorized', message: 'invalid signature' },
    },
  ],
  [
    '403 of the database, for a key of another role',
    {
      kind: 'answer',
      status: 403,
      body: { code: '42501', message: 'permission denied for function storage_reserve' },
    },
  ],
  ['402', { kind: 'answer', status: 402, body: { message: 'Payment required: upgrade the plan' } }],
  ['540', { kind: 'answer', status: 540, body: { message: 'The project is paused' } }],
];

const nameOf = ([name]: readonly [string, unknown]) => name;

test('on a refusal nothing is parked: all waits, and says why', () =>
  atOnce(refusals, nameOf, async ([status, fault]) => {
    const { storage, proxy, events } = await host();
    // As each part says it: the database in words of its own.
    const { code, statusCode } = (fault as { body: Record<string, string> }).body;
    const isOf = code === '42501' ? /rest/ : statusCode === undefined ? /./ : /storage\/v1/;
    proxy.rule = (_, path) => (isOf.test(path) ? fault : null);
    const projectId = uniqueId();
    for (let i = 0; i < 40; i++) await storage.save({ projectId, version: i + 1, files: SMALL });
    await until(async () => (await storage.status()).outbox.paused);
    const { outbox, generations } = await storage.status();
    expect(outbox).toMatchObject({ owed: 40, parked: 0, paused: true });
    expect(generations).toMatchObject({ pending: 40 });
    expect(outbox.reason).toContain(status.slice(0, 3));
    const body = (fault as { body: { message: string } }).body;
    expect(outbox.reason).toContain(body.message);
    expect(events).toContainEqual(
      expect.objectContaining({
        ...{ kind: 'cloud.away', cause: 'refused' },
        reason: expect.stringContaining(body.message),
      }),
    );
    proxy.rule = () => null;
    await until(async () => (await storage.status()).outbox.owed === 0);
    expect((await storage.status()).generations).toMatchObject({ verified: 40 });
  }));

/** As a web framework or a gateway says it, where the platform has words: numbers, and objects. */
const foreign: [number, Record<string, unknown>][] = [
  [503, { statusCode: 503, error: 'Service Unavailable', message: 'Service Unavailable' }],
  [503, { code: 503, message: 'busy' }],
  [502, { statusCode: null, code: null, message: null }],
  [500, { statusCode: {}, code: [], message: { detail: 'busy' } }],
  [429, { statusCode: 429, message: ['too', 'many'] }],
  [404, { statusCode: 404, code: 404, message: 'no Route matched' }],
];

test('of a gateway that answers in words of its own nothing is known: all is tried again', () =>
  atOnce(
    foreign,
    (one) => JSON.stringify(one),
    async ([status, body]) => {
      const { storage, proxy, cloud } = await host();
      const chunked = { large: randomBytes(7_000_000) };
      const other = await openTestStorage({ cloud });
      const elsewhere = await other.save({ projectId: uniqueId(), files: SMALL });
      await waitForStatus(other, elsewhere, 'verified');
      proxy.rule = () => ({ kind: 'answer', status, body });
      // Its first use of the project asks the cloud for the next version.
      const small = await storage.save({ projectId: uniqueId(), files: SMALL });
      expect(small.versionProvisional).toBe(true);
      await expect(storage.get(elsewhere)).rejects.toMatchObject({ retryable: true });
      await until(async () => (await storage.status()).outbox.paused);
      // The rows are there, the bucket is not.
      proxy.rule = (_, path) =>
        path.includes('/storage/') ? { kind: 'answer', status, body } : null;
      const large = await storage.save({ projectId: uniqueId(), version: 1, files: chunked });
      await until(async () => (await storage.status()).outbox.paused);
      await expect(storage.get(elsewhere)).rejects.toMatchObject({ retryable: true });
      expect((await storage.status()).outbox).toMatchObject({ owed: 2, parked: 0 });
      proxy.rule = () => null;
      for (const saved of [small, large]) await waitForStatus(storage, saved, 'verified');
    },
  ));

test.each([
  { statusCode: 401, message: 'm' },
  { code: 401, message: { detail: 'm' } },
])('401 as %j is a refusal of the key', async (body) => {
  const { storage, proxy } = await host();
  proxy.rule = () => ({ kind: 'answer', status: 401, body });
  await storage.save({ projectId: uniqueId(), version: 1, files: SMALL });
  await until(async () => (await storage.status()).outbox.paused);
  expect((await storage.status()).outbox.reason).toContain('refuses the key');
});

test('a key that is over is read again from its file, without a restart', async () => {
  const { cloud, storePath } = await host();
  const keyFile = join(await tempFolder(), 'key');
  await writeFile(keyFile, 'sb_secret_revoked');
  const storage = await openTestStorage({
    storePath,
    cloud: { ...cloud, key: 'sb_secret_revoked', keyFile },
  });
  const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
  await until(async () => (await storage.status()).outbox.paused);
  await writeFile(keyFile, `${cloud.key}\n`);
  await waitForStatus(storage, receipt, 'verified');
});

test('a key that is over is read again where nothing is owed but something asked for', async () => {
  const { storage: first, cloud, proxy } = await host();
  const receipt = await first.save({ projectId: uniqueId(), files: SMALL });
  await waitForStatus(first, receipt, 'verified');
  const keyFile = join(await tempFolder(), 'key');
  await writeFile(keyFile, cloud.key);
  const over = { ...cloud, url: proxy.url, key: 'sb_secret_revoked', keyFile };
  const storage = await openTestStorage({ cloud: over, background: false });
  expect(await storage.get(receipt)).toMatchObject({ from: 'cloud' });
});

test('doctor says of 402 that it is the plan', async () => {
  const { proxy, cloud } = await host();
  const message = 'The plan is used up';
  proxy.rule = (_, path) =>
    path.startsWith('/storage/v1/bucket')
      ? { kind: 'answer', status: 402, body: { statusCode: '402', error: 'Payment', message } }
      : null;
  const ran = await runCli(['doctor'], {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: proxy.url,
    SUPABASE_SERVICE_KEY: cloud.key,
    FILE_STORAGE_PATH: await tempFolder(),
    CACHE_PATH: await tempFolder(),
  });
  expect(ran.stdout).toMatch(/✗ key .*402: The plan is used up/);
  expect(ran.stdout).not.toContain('Take the secret key');
});

const html = { 'content-type': 'text/html' };
const notTheirs: [string, Fault][] = [
  ['a 400 page', { kind: 'answer', status: 400, headers: html, text: '<html>Bad Request</html>' }],
  ['a 403 page', { kind: 'answer', status: 403, headers: html, text: '<html>Forbidden</html>' }],
  ['a 404 page', { kind: 'answer', status: 404, headers: html, text: '<html>Not Found</html>' }],
  ['a 404 with []', { kind: 'answer', status: 404, text: '[]' }],
  [
    'a 403 in JSON',
    {
      kind: 'answer',
      status: 403,
      text: '{"error":"Forbidden","message":"Request blocked"}',
    },
  ],
  ["a gateway's 404", { kind: 'answer', status: 404, text: '{"message":"no Route matched"}' }],
  ['204', { kind: 'answer', status: 204, text: '' }],
  ['null', { kind: 'answer', status: 200, text: 'null' }],
  ['[]', { kind: 'answer', status: 200, text: '[]' }],
  ['{}', { kind: 'answer', status: 200, text: '{}' }],
  ['a page with 200', { kind: 'answer', status: 200, headers: html, text: '<html>Sign in</html>' }],
  ['half a body', { kind: 'truncate', afterBytes: 5 }],
];

test('what is not the platform’s word is tried again, nothing parks', () =>
  atOnce(notTheirs, nameOf, async ([, fault]) => {
    const { storage, proxy } = await host({ random: () => 0 });
    // Of each kind of request the first.
    const kinds = [/rpc\/storage_reserve/, /\/storage\/v1\/bucket\//, PUT, /rpc\/storage_record/];
    proxy.rule = any(...kinds.map((kind): Rule => first(1, kind, fault)));
    const projectId = uniqueId();
    for (const version of [1, 2, 3]) await storage.save({ projectId, version, files: SMALL });
    for (const version of [1, 2, 3])
      await waitForStatus(storage, { projectId, version }, 'verified');
    expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  }));

test('what is not the platform’s word in the place of a download is no damage', () =>
  atOnce(notTheirs, nameOf, async ([, fault]) => {
    const { storage, proxy, cloud } = await host();
    const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
    await waitForStatus(storage, receipt, 'verified');
    const reader = await openTestStorage({ cloud });
    proxy.rule = (method, path) =>
      /^GET \/storage\/v1\/object\/bucket-/.test(`${method} ${path}`) ? fault : null;
    await expect(reader.get(receipt)).rejects.toMatchObject({ code: 'unavailable' });
  }));

const now = Date.UTC(2026, 10, 26, 12, 0, 0);
test.each([
  ['120', null, 120_000],
  ['1000000000', null, 1_000_000_000_000],
  [new Date(now + 30_000).toUTCString(), new Date(now).toUTCString(), 30_000],
  ['Fri, 01 Jan 2100 00:00:00 GMT', null, null],
  [new Date(now - 30_000).toUTCString(), new Date(now).toUTCString(), 0],
  ['soon', new Date(now).toUTCString(), null],
])(
  'Retry-After %j in an answer of %j is %j ms, whatever this host’s clock says',
  (header, date, ms) => {
    expect(parseRetryAfter(header, date)).toBe(ms);
  },
);

test('who asks for a thousand million seconds is asked again within five minutes', async () => {
  const { storage, proxy } = await host();
  const headers = { 'retry-after': '1000000000' };
  proxy.rule = first(1, PUT, { kind: 'answer', status: 503, headers });
  await storage.save({ projectId: uniqueId(), files: SMALL });
  await until(async () => (await storage.uploads()).items[0]?.failure != null);
  const { dueAt } = (await storage.uploads()).items[0]!;
  expect(Date.parse(dueAt!) - Date.now()).toBeLessThanOrEqual(300_000);
});

test.each([-5, 5])(
  'a clock that is put by %i hours while all waits holds nothing up',
  async (hours) => {
    let ahead = 0;
    const { storage, proxy } = await host({ now: () => Date.now() + ahead, random: () => 1 });
    proxy.rule = () => ({ kind: 'down' });
    const receipt = await storage.save({ projectId: uniqueId(), version: 1, files: SMALL });
    await until(async () => (await storage.status()).outbox.paused);
    ahead = hours * 3_600_000;
    proxy.rule = () => null;
    const began = performance.now();
    await waitForStatus(storage, receipt, 'verified');
    expect(performance.now() - began).toBeLessThan(15_000);
  },
);

test('a job that waits for a time far ahead, the clock having been put back, waits five minutes at most', async () => {
  const { storage, storePath, cloud } = await host();
  const receipt = await storage.save({ projectId: uniqueId(), version: 1, files: SMALL });
  await storage.close({ drainMs: 0 });
  const db = openCatalog(storePath);
  db.exec(`insert into jobs (project_id, version, step, since, due_at)
    select '${receipt.projectId}', 1, 'reserve', 0, 0 where not exists (select 1 from jobs)`);
  db.exec(`update jobs set due_at = ${Date.now() + 18_000_000}`);
  db.close();
  const later = await openTestStorage({ storePath, cloud });
  await until(async () => {
    const { dueAt } = (await later.uploads()).items[0]!;
    return Date.parse(dueAt!) - Date.now() <= 300_000;
  });
});

describe('a catalog that another program holds', () => {
  test('stops no probe; a save goes through once it is let go', async () => {
    const { storePath, daemon } = await startDaemon();
    const save = () =>
      fetch(`${daemon.url}/v1/generations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ project_id: 'p', files: SMALL }),
      });
    expect((await save()).status).toBe(201);
    const db = openCatalog(storePath);
    db.exec('begin immediate');
    // Many that wait for it are no more than one.
    const saving = Array.from({ length: 100 }, save);
    const waits: number[] = [];
    const began = performance.now();
    while (performance.now() - began < 2000) {
      const asked = performance.now();
      expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200);
      waits.push(performance.now() - asked);
      await sleep(20);
    }
    db.exec('rollback');
    for (const saved of saving) expect((await saved).status).toBe(201);
    expect(waits.toSorted((a, b) => a - b).at(-3)).toBeLessThan(100);
    db.close();
  });

  test('for longer than a save waits is told as unavailable, and nothing is lost or half done', async () => {
    const storage = await openTestStorage();
    const first = await storage.save({ projectId: 'p', files: SMALL, tree: 'now' });
    const { storePath } = await storage.status();
    const db = openCatalog(storePath);
    db.exec('begin immediate');
    const saving = storage.save({ projectId: 'p', files: { b: 'b' } });
    await expect(saving).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('busy'),
    });
    expect(await storage.get(first)).toMatchObject({ from: 'store' });
    db.exec('rollback');
    db.close();
    expect(await storage.save({ projectId: 'p', files: { b: 'b' } })).toMatchObject({ version: 2 });
  });
});

test('what is large and there already is not sent: an early refusal would wedge the lane', async () => {
  const { storage, proxy, cloud, storePath } = await host();
  const receipt = await storage.save({
    projectId: uniqueId(),
    files: { 'big.bin': randomBytes(1_000_000) },
  });
  const { objectKey } = await waitForStatus(storage, receipt, 'verified');
  await storage.close();
  // As where another host, or an earlier run of this one, was quicker.
  await serviceClient().from('storage_generations').delete().eq('project_id', receipt.projectId);
  const db = openCatalog(storePath);
  db.exec(`insert into jobs (project_id, version, step, since, due_at)
    values ('${receipt.projectId}', 1, 'reserve', 0, 0)`);
  db.exec(`update generations set status = 'pending'`);
  db.close();
  proxy.seen.length = 0;
  const again = await openTestStorage({ storePath, cloud });
  await waitForStatus(again, receipt, 'verified');
  expect(proxy.seen.filter((line) => PUT.test(line))).toEqual([]);
  expect((await again.show(receipt)).objectKey).toBe(objectKey);
});

test('a key that is over is not taken for an object that is missing', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(uniqueId('bucket')), url: proxy.url };
  const stopped = new AbortController();
  const objects = new ObjectsBySecretKey(await connect(cloud, stopped.signal));
  const body = { statusCode: '404', error: 'Bucket not found', message: 'Bucket not found' };
  const refused = {
    statusCode: '403',
    error: 'Unauthorized',
    message: '"exp" claim timestamp check failed',
  };
  // As the real server answers: who reads with such a token is nobody.
  proxy.rule = (_, path) =>
    path.startsWith('/storage/v1/object')
      ? { kind: 'answer', status: 400, body: { ...body, code: 'NoSuchBucket' } }
      : { kind: 'answer', status: 400, body: refused };
  await expect(objects.info('p/generations/v1__g.tar.gz')).rejects.toMatchObject({
    code: 'unauthenticated',
  });
  await expect(objects.readBack('p/generations/v1__g.tar.gz')).rejects.toMatchObject({
    code: 'unauthenticated',
  });
  await expect(objects.sign('p/generations/v1__g.tar.gz', 60, 'x')).rejects.toMatchObject({
    code: 'unauthenticated',
  });
  proxy.rule = (_, path) =>
    path.startsWith('/storage/v1/object')
      ? { kind: 'answer', status: 400, body: { ...body, code: 'NoSuchBucket' } }
      : null;
  expect(await objects.info('p/generations/v1__g.tar.gz')).toBeNull();
  stopped.abort();
});

const tus = { 'tus-resumable': '1.0.0' };
const chunkFaults: [string, Rule][] = [
  ...[400, 403, 404, 410, 423, 460].map((status): [string, Rule] => [
    `HEAD ${status}`,
    any(
      first(1, CHUNK, { kind: 'lose' }),
      first(1, HEAD, { kind: 'answer', status, headers: tus, text: 'on demand' }),
    ),
  ]),
  [
    '409 twice after a lost answer',
    any(
      first(1, CHUNK, { kind: 'lose' }),
      first(2, CHUNK, { kind: 'answer', status: 409, headers: tus, text: 'conflict' }),
    ),
  ],
  [
    '423 on a chunk',
    first(1, CHUNK, { kind: 'answer', status: 423, headers: tus, text: 'locked' }),
  ],
  ['460 on a chunk', first(1, CHUNK, { kind: 'answer', status: 460, headers: tus, text: 'sum' })],
  [
    'HEAD with the full offset, and no object',
    any(
      first(1, CHUNK, { kind: 'down' }),
      first(1, HEAD, {
        kind: 'answer',
        status: 200,
        headers: { ...tus, 'upload-offset': '7001600' },
      }),
    ),
  ],
];

test('a chunked upload is right in the end, whatever went wrong with a chunk', () =>
  atOnce(chunkFaults, nameOf, async ([name, rule]) => {
    const { storage, proxy } = await host();
    proxy.rule = rule;
    const receipt = await storage.save({
      projectId: uniqueId(),
      files: { 'big.bin': randomBytes(7_000_000) },
    });
    const { bytes } = await storage.archive(receipt);
    if (name.includes('full offset')) {
      const length = String(bytes);
      proxy.rule = any(
        first(1, CHUNK, { kind: 'down' }),
        first(1, HEAD, {
          kind: 'answer',
          status: 200,
          headers: { ...tus, 'upload-offset': length },
        }),
      );
    }
    const { objectKey } = await waitForStatus(storage, receipt, 'verified');
    const { bucket } = (await storage.status()).cloud;
    const info = await serviceClient().storage.from(bucket!).info(objectKey);
    expect(info.data?.size).toBe(bytes);
    expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  }));

test.each(['40P01', '40001', '57014'])('%s of the database is tried again', async (code) => {
  const { storage, proxy } = await host();
  const body = { code, message: 'deadlock detected', details: null, hint: null };
  proxy.rule = any(
    first(2, /rpc\/storage_reserve/, { kind: 'answer', status: 400, body }),
    first(2, /rpc\/storage_record/, { kind: 'answer', status: 409, body }),
  );
  const receipt = await storage.save({ projectId: uniqueId(), files: SMALL });
  await waitForStatus(storage, receipt, 'verified');
  expect((await storage.status()).outbox.parked).toBe(0);
});
