/** What was done, counted by time. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Catalog } from '../../node-agent/catalog/catalog.ts';
import { uniqueId } from '../support/cloud.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const DAY = 86_400_000;

test('saves, uploads and deletions are counted on their days, with bytes and durations', async () => {
  let clock = Date.parse('2026-03-01T23:59:59.999Z');
  const storage = await openTestStorage({
    cloud: testCloud(uniqueId('bucket')),
    now: () => clock,
  });
  const projectId = uniqueId();
  const first = await storage.save({ projectId, files: { a: 'x'.repeat(100) } });
  await waitForStatus(storage, first, 'verified');
  const { bytes: sent } = await storage.archive(first);
  clock += 1;
  // The same once more is no save; another one is.
  await storage.save({ ...first, files: { a: 'x'.repeat(100) } });
  await storage.save({ projectId, files: { a: 'y', b: 'z' } });
  await storage.delete(first);
  const days = storage.stats(3);
  expect(days.map(({ from }) => from.slice(0, 10))).toEqual([
    '2026-02-28',
    '2026-03-01',
    '2026-03-02',
  ]);
  expect(days[0]).toMatchObject({ saves: 0, uploads: 0, savedBytes: 0, deletions: 0 });
  expect(days[1]).toMatchObject({
    saves: 1,
    savedBytes: 100,
    uploads: 1,
    deletions: 0,
    failures: 0,
  });
  expect(days[1]!.uploadedBytes).toBe(sent);
  expect(days[1]!.longestSaveMs).toBe(days[1]!.saveMs);
  expect(days[2]).toMatchObject({ saves: 1, savedBytes: 2, deletions: 1 });

  const hour = storage.activity('hour');
  expect(hour).toHaveLength(60);
  expect(hour.slice(-2).map(({ from, saves }) => [from, saves])).toEqual([
    ['2026-03-01T23:59:00.000Z', 1],
    ['2026-03-02T00:00:00.000Z', 1],
  ]);
  const day = storage.activity('day');
  expect(day.slice(-2).map(({ from, saves }) => [from, saves])).toEqual([
    ['2026-03-01T23:45:00.000Z', 1],
    ['2026-03-02T00:00:00.000Z', 1],
  ]);
  expect([day.length, storage.activity('month').length]).toEqual([96, 30]);
  expect(
    storage
      .activity('month')
      .map(({ saves }) => saves)
      .slice(-3),
  ).toEqual([0, 1, 1]);
});

test('minutes are kept for two days, hours for 400, and a clock that is wrong takes nothing along', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  const begin = Date.parse('2026-01-01T00:00:00Z');
  catalog.transaction(() => {
    for (let hour = 0; hour < 9700; hour++) {
      catalog.activity.add({ saves: 1 }, begin + hour * 3_600_000);
    }
    catalog.activity.add({ saves: 1 }, begin + 5000 * DAY);
  });
  const count = (by: 1 | 60) => catalog.activity.list(by, by, 0).length;
  expect([count(1), count(60)]).toEqual([2880, 9600]);
  catalog.close();
});

test('what is not committed is not counted', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  const add = () =>
    catalog.transaction(() => {
      catalog.activity.add({ saves: 1 }, 0);
      throw new Error('rolled back');
    });
  expect(add).toThrow('rolled back');
  expect(catalog.activity.list(60, 60, 0)).toEqual([]);
  catalog.close();
});

test('a command shows the days on which something was done', async () => {
  const env = { FILE_STORAGE_PATH: await tempFolder() };
  const storage = await openTestStorage({ storePath: env.FILE_STORAGE_PATH });
  for (const text of ['1', '22']) await storage.save({ projectId: 'p', files: { a: text } });
  const shown = await runCli(['stats', '--days', '2'], env);
  const today = new Date().toISOString().slice(0, 10);
  expect(shown.stdout).toMatch(new RegExp(`^DAY +SAVES .*\n(.*\n)*${today} +2 +3 B `));
  const { days } = JSON.parse((await runCli(['stats', '--json'], env)).stdout);
  expect(days).toHaveLength(30);
  expect(days.at(-1)).toMatchObject({
    saves: 2,
    saved_bytes: 3,
    longest_save_ms: expect.any(Number),
  });
  const wrong = await runCli(['stats', '--days', '401'], env);
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('1 to 400')]);
});
