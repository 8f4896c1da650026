/** What Prometheus is told, and what the examples ask it for. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { ROOT } from '../support/run.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';

const NAMES = /\bcodebegen_storage_[a-z_]+/g;
const OF_HISTOGRAM = /_(bucket|sum|count)$/;

test.each(['grafana-dashboard.json', 'prometheus-alerts.yml'])(
  'docs/examples/%s asks for what there is',
  async (file) => {
    const { daemon } = await startDaemon();
    const text = await (await fetch(`${daemon.url}/metrics`)).text();
    const kinds = new Map(
      [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [name!, kind!]),
    );
    const example = readFileSync(join(ROOT, 'docs/examples', file), 'utf8');
    const asked = new Set(example.match(NAMES));
    expect(asked.size).toBeGreaterThan(5);
    for (const name of asked) {
      const isThere =
        kinds.get(name) === undefined
          ? kinds.get(name.replace(OF_HISTOGRAM, '')) === 'histogram'
          : kinds.get(name) !== 'histogram';
      expect(isThere, name).toBe(true);
    }
    if (!file.endsWith('.json')) return;
    // The board shows all that is told.
    const shown = new Set([...asked].map((name) => name.replace(/_bucket$/, '')));
    expect([...kinds.keys()].filter((name) => !shown.has(name))).toEqual([]);
    JSON.parse(example);
  },
);

test('the bytes that are kept: of the store, its trees, the cache and the bucket', async () => {
  const cloud = testCloud(uniqueId('bucket'));
  const storage = await openTestStorage({ cloud });
  const files = { a: 'x'.repeat(5000), b: 'y' };
  const projectId = uniqueId();
  const sent = await settled(storage, storage.save({ projectId, files }));
  await waitForStatus(storage, sent, 'verified');
  const { archiveBytes } = sent as { archiveBytes: number };
  expect(await storage.sizes()).toEqual({
    store: archiveBytes,
    trees: 0,
    cache: 0,
    bucket: archiveBytes,
  });

  await storage.get(sent);
  expect(await storage.sizes()).toMatchObject({ store: archiveBytes, trees: 5001 });

  await storage.cleanupStore({ olderThanMs: 0 });
  expect(await storage.sizes()).toEqual({ store: 0, trees: 0, cache: 0, bucket: archiveBytes });
  const got = await storage.get(sent);
  const { cache } = await storage.sizes();
  expect(cache).toBeGreaterThanOrEqual(archiveBytes);
  rmSync(got.path, { recursive: true });
  expect((await storage.sizes()).cache).toBe(0);
});
