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

type Delays = { p50: number; p99: number; max: number };

export async function eventLoop(): Promise<Measured[]> {
  const host = await startHost();
  try {
    const delays = await runProgram<{ idle: Delays; busy: Delays }>(
      import.meta.filename,
      [],
      host.env,
    );
    process.stderr.write(`  ${JSON.stringify(delays)}\n`);
    return [
      atMost(
        `event loop delay, p99, ${GENERATIONS} generations of ${FILES} files`,
        delays.busy.p99,
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
  await storage.save({ projectId: 'warm-up', files: { a: 'a' } });
  await storage.drain();
  const idle = await measure(() => new Promise((resolve) => setTimeout(resolve, 1000)));
  const busy = await measure(async () => {
    await Promise.all(
      Array.from({ length: GENERATIONS }, (_, i) => storage.save({ projectId: `p${i}`, files })),
    );
    while ((await storage.status()).outbox.owed > 0) await storage.drain(60_000);
  });
  await storage.close();
  console.log(JSON.stringify({ idle, busy }));
}

async function measure(work: () => Promise<unknown>): Promise<Delays> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await work();
  histogram.disable();
  const ms = (nanoseconds: number) => Math.round(nanoseconds / 1e4) / 100;
  return {
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
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
