/** How long a get takes: from the store, and from the cloud beside `curl | tar xz`. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { openStorage, type Receipt, readConfig } from '../../node-agent/index.ts';
import { waitForStatus } from '../support/storage.ts';
import { readPackages, readSources, type Tree } from './corpus.ts';
import { runProgram, startHost } from './host.ts';
import { alternate, atMost, type Measured, ratios } from './measure.ts';

const ROUNDS = 30;

type Times = { store: number[]; cold: { files: number; get: number[]; curl: number[] }[] };

export async function get(): Promise<Measured[]> {
  const host = await startHost();
  try {
    const { store, cold } = await runProgram<Times>(import.meta.filename, [host.folder], host.env);
    return [
      atMost('get from the store, 61 files', store, 'ms', 0.3),
      ...cold.map(({ files, get, curl }) =>
        atMost(
          `get from the cloud, ${files} files: times curl and tar xz`,
          ratios(get, curl),
          '×',
          1.3,
        ),
      ),
    ];
  } finally {
    await host.close();
  }
}

if (import.meta.main) {
  const folder = process.argv[2]!;
  const config = readConfig(process.env);
  const storage = await openStorage(config);
  const trees: Tree[] = [readSources(61), readPackages(['hono']), readPackages(['kysely'])];
  const receipts: (Receipt & { url: string })[] = [];
  for (const [index, files] of trees.entries()) {
    const receipt = await storage.save({ projectId: `p${index}`, files });
    await waitForStatus(storage, receipt, 'verified');
    receipts.push({ ...receipt, url: (await storage.downloadUrl(receipt))!.url });
  }
  const { store } = await alternate(
    { store: () => storage.get(receipts[0]!) },
    { rounds: 1000, warmUp: 100 },
  );
  await storage.close();

  // Another host: nothing of it is there.
  const elsewhere = { ...config, storePath: join(folder, 'empty'), background: false };
  const cachePath = join(folder, 'cold');
  const other = await openStorage({ ...elsewhere, cache: { ...config.cache, path: cachePath } });
  const cold: Times['cold'] = [];
  for (const { url, fileCount, projectId, version } of receipts) {
    const unpacked = join(folder, 'unpacked');
    const times = await alternate(
      {
        get: async () => {
          setAside(join(cachePath, projectId));
          const began = performance.now();
          const { from } = await other.get({ projectId, version });
          if (from !== 'cloud') throw new Error(`It was got from the ${from}`);
          return performance.now() - began;
        },
        curl: () => {
          setAside(unpacked);
          mkdirSync(unpacked);
          const began = performance.now();
          execFileSync('sh', ['-c', `curl -sSf '${url}' | tar xz -C '${unpacked}'`]);
          return performance.now() - began;
        },
      },
      { rounds: ROUNDS },
    );
    cold.push({ files: fileCount, ...times });
  }
  await other.close();
  console.log(JSON.stringify({ store, cold } satisfies Times));
}

/** As if it were removed. That itself would slow down what is written next. */
function setAside(path: string): void {
  if (existsSync(path)) renameSync(path, `${path}-${performance.now()}`);
}
