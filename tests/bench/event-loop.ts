/** How long the event loop of a host process stalls while it saves and uploads. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { ROOT } from '../support/run.ts';
import { runProgram, startHost } from './host.ts';
import { atMost, type Measured } from './measure.ts';

const GENERATIONS = 50;
const FILES = 500;
const TARGET_MS = 10;
const ROUNDS = 5;

export async function eventLoop(): Promise<Measured[]> {
  const host = await startHost();
  try {
    const p99: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const folder = join(host.folder, String(round));
      p99.push(
        await runProgram<number>(import.meta.filename, [String(round)], {
          ...host.env,
          FILE_STORAGE_PATH: join(folder, 'store'),
          CACHE_PATH: join(folder, 'cache'),
        }),
      );
    }
    return [
      atMost(
        `event loop delay, p99, ${GENERATIONS} generations of ${FILES} files`,
        p99,
        'ms',
        TARGET_MS,
      ),
    ];
  } finally {
    await host.close();
  }
}

if (import.meta.main) {
  const files = realFiles(FILES);
  const storage = await openStorage(readConfig(process.env));
  // Once for what is loaded and compiled at the first use.
  await storage.save({ projectId: `warm-up-${process.argv[2]}`, files: { a: 'a' } });
  await storage.drain();
  const round = process.argv[2];
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await Promise.all(
    Array.from({ length: GENERATIONS }, (_, i) =>
      storage.save({ projectId: `p${round}-${i}`, files }),
    ),
  );
  while ((await storage.status()).outbox.owed > 0) await storage.drain(60_000);
  histogram.disable();
  await storage.close();
  console.log(JSON.stringify(histogram.percentile(99) / 1e6));
}

/** Real source code: files of the packages that are installed. */
function realFiles(count: number): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of ['hono', 'valibot', 'kysely', '@supabase']) {
    const folder = join(ROOT, 'node_modules', name);
    for (const path of readdirSync(folder, { recursive: true }).map(String)) {
      if (!/\.(js|ts|mjs|json)$/.test(path) || path.includes('node_modules')) continue;
      const content = readFileSync(join(folder, path), 'utf8');
      if (content.length > 20_000) continue;
      files[`${name}/${path}`] = content;
      if (Object.keys(files).length === count) return files;
    }
  }
  throw new Error('There is not enough code installed');
}
