/** Some of the benchmarks, small, with room for any noise: a loss of an order of magnitude fails. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { openTestStorage, settled } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { prepare } from './archive.ts';
import { readSources } from './corpus.ts';
import { alternate, quantile, ratios } from './measure.ts';
import { commit, writeTree } from './save.ts';

const median = (values: readonly number[]) => quantile(values, 0.5);

test('a save takes no 20 times what its writes and fsyncs do, a get no longer than they', async () => {
  const storage = await openTestStorage({ background: false });
  const folder = await tempFolder();
  const files = readSources(61);
  const receipt = await settled(storage, storage.save({ projectId: 'p', files }));
  let n = 0;
  const times = await alternate(
    {
      floor: () => {
        const place = join(folder, `${n++}`);
        writeTree(place, files);
        commit(`${place}-commit`, Buffer.alloc(receipt.archiveBytes));
      },
      save: async () => void (await storage.save({ projectId: 'p', files })),
      get: async () => void (await storage.get(receipt)),
    },
    { rounds: 11 },
  );
  expect(median(ratios(times.save, times.floor))).toBeLessThan(20);
  expect(median(ratios(times.get, times.floor))).toBeLessThan(1);
});

test('packing is no 6 times slower than gzip in one thread, and no 30 % larger', async () => {
  const { tar, pack } = await prepare(readSources(300));
  const { bytes } = await pack();
  expect(bytes / gzipSync(tar, { level: 6 }).length).toBeLessThan(1.3);
  const times = await alternate(
    { ours: () => pack(), zlib: () => void gzipSync(tar, { level: 6 }) },
    { rounds: 7 },
  );
  expect(median(ratios(times.ours, times.zlib))).toBeLessThan(6);
});
