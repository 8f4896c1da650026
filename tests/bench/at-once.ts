/** 50 saves at once until all are answered, beside bare writes of all their files; and the event loop meanwhile. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { readSources } from './corpus.ts';
import { runProgram } from './host.ts';
import { alternate, atMost, type Measured, ratios } from './measure.ts';
import { writeTree } from './save.ts';

const SAVES = 50;
const FILES = 117;

export async function atOnce(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  try {
    const env = { FILE_STORAGE_PATH: join(folder, 'store'), USE_CLOUD_STORAGE: 'false' };
    const { saves, bare, p99 } = await runProgram<Record<'saves' | 'bare' | 'p99', number[]>>(
      import.meta.filename,
      [folder],
      env,
    );
    const what = `${SAVES} saves of ${FILES} files at once`;
    return [
      atMost(`${what}: times bare writes of all`, ratios(saves, bare), '×', 1),
      atMost(`${what}: event loop delay, p99`, p99, 'ms', 10),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const folder = process.argv[2]!;
  const storage = await openStorage({ ...readConfig(process.env), background: false });
  const tree = readSources(FILES);
  const p99: number[] = [];
  let n = 0;
  const times = await alternate(
    {
      saves: async () => {
        const round = n++;
        const histogram = monitorEventLoopDelay({ resolution: 1 });
        histogram.enable();
        await Promise.all(
          Array.from({ length: SAVES }, (_, i) =>
            storage.save({ projectId: `p${round}-${i}`, files: tree }),
          ),
        );
        histogram.disable();
        p99.push(histogram.percentile(99) / 1e6);
      },
      bare: () => {
        for (let i = 0; i < SAVES; i++) writeTree(join(folder, `bare-${n}-${i}`), tree);
      },
    },
    { rounds: 8 },
  );
  await storage.close();
  console.log(JSON.stringify({ ...times, p99: p99.slice(-times.saves.length) }));
}
