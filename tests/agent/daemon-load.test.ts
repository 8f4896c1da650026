/** The daemon under load while the cloud is away, and the cloud turned on, off and on again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, inject, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const ARCHIVE_SENT = /^POST \/storage\/v1\/object\/bucket-.*\.tar\.gz/;

/** The long form is that of the design: 500 saves, and a minute. */
const isLong = process.env.LOAD_LONG === '1';
const SAVES = isLong ? 500 : 60;
const AT_ONCE = 20;
const AWAY_MS = isLong ? 60_000 : 2000;

test(`${SAVES} saves over HTTP, ${AT_ONCE} at once, while the cloud is away: all are uploaded, once`, async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const { storePath, daemon } = await startDaemon({
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: proxy.url,
    SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: bucket,
    LOG_LEVEL: 'error',
  });
  let next = 0;
  const saveAll = async (count: number): Promise<number[]> => {
    const took: number[] = [];
    const end = next + count;
    const lane = async () => {
      while (next < end) {
        const n = next++;
        const files = Object.fromEntries(
          Array.from({ length: 10 }, (_, i) => [`f${i}.txt`, `${n} ${i} `.repeat(100)]),
        );
        const began = performance.now();
        const answer = await fetch(`${daemon.url}/v1/generations`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ project_id: projectId, files }),
        });
        expect(answer.status).toBe(201);
        await answer.arrayBuffer();
        took.push(performance.now() - began);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    return took.sort((a, b) => a - b);
  };
  const p99 = (took: number[]) => took[Math.floor(took.length * 0.99)]!;

  proxy.rule = () => ({ kind: 'down' });
  const away = Date.now();
  const withoutCloud = await saveAll(SAVES);
  expect((await (await fetch(`${daemon.url}/v1/status`)).json()).outbox.owed).toBe(SAVES);
  while (Date.now() - away < AWAY_MS) await sleep(50);
  proxy.rule = () => null;
  await fetch(`${daemon.url}/v1/uploads/retry`, { method: 'POST' });
  const withCloud = await saveAll(AT_ONCE * 2);
  // Nobody waits for a cloud that is away.
  expect(p99(withoutCloud)).toBeLessThan(10 * Math.max(50, p99(withCloud)));

  const cloud = testCloud(bucket);
  const reader = await openTestStorage({ storePath, cloud, background: false });
  for (;;) {
    const { generations } = await reader.status();
    if (generations.verified === next) break;
    expect(generations.failed ?? 0).toBe(0);
    await fetch(`${daemon.url}/v1/uploads/retry`, { method: 'POST' });
    await sleep(200);
  }
  const rows = await serviceClient()
    .from('storage_generations')
    .select('version, status')
    .eq('project_id', projectId)
    .order('version')
    .limit(1000);
  expect(rows.data).toEqual(
    Array.from({ length: next }, (_, i) => ({ version: i + 1, status: 'verified' })),
  );
  const uploads = proxy.seen.filter((line) => ARCHIVE_SENT.test(line));
  const keys = uploads.map((line) => line.split('/').at(-1));
  // Those that were cut off before they arrived are not there twice.
  expect(new Set(keys).size).toBe(next);
}, 300_000);

test('the cloud turned on, off and on again: nothing is lost, and nothing uploaded twice', async () => {
  const storePath = await tempFolder();
  const projectId = uniqueId();
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(uniqueId('bucket')), url: proxy.url };
  const saved: { projectId: string; version: number }[] = [];
  for (const isOn of [true, false, true]) {
    const storage = await openTestStorage({ storePath, cloud: isOn ? cloud : null });
    for (let i = 0; i < 3; i++) {
      saved.push(await storage.save({ projectId, files: { a: `${saved.length}` } }));
    }
    for (const ref of saved) {
      expect(await storage.get(ref)).toMatchObject({ from: 'store' });
      if (isOn) await waitForStatus(storage, ref, 'verified');
    }
    const { generations } = await storage.status();
    expect(generations).toMatchObject(
      isOn ? { verified: saved.length } : { local: 3, verified: 3 },
    );
    await storage.close();
  }
  const uploads = proxy.seen.filter((line) => ARCHIVE_SENT.test(line));
  // The very first finds that there is no bucket, and is sent again.
  const keys = uploads.map((line) => line.split('/').at(-1));
  expect(new Set(keys).size).toBe(9);
  expect(keys.length).toBeLessThanOrEqual(9 + 4);
});
