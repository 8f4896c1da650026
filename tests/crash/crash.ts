import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Receipt } from '../../node-agent/index.ts';
import { builtProgram, ROOT, run } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readUnsynced, type Unsynced } from './power-loss.ts';
import { prepare, type Scenario } from './scenarios.ts';

/** A process that was killed, and what it left. */
export type Crash = Readonly<{
  storePath: string;
  /** What it had answered. */
  receipt: Receipt | null;
  /** Where it lived to tell: how many steps there are. */
  steps: number | null;
  unsynced: Unsynced;
  /** What went wrong in the background. */
  problems: { code: string; message: string }[];
  /** What came of it where the disk was full, or failed. */
  full: { code: string; message: string; left: string[] } | null;
}>;

/**
 * Runs a scenario in a process of its own and kills it before a step of I/O.
 *
 * @param at the step; 0: it is not killed
 */
export async function crash(options: {
  scenario: Scenario;
  projectId: string;
  at: number;
  /** An empty folder for all of it. */
  folder: string;
  /** The store it begins with. */
  template: string | null;
  env: Record<string, string>;
}): Promise<Crash> {
  const { scenario, projectId, at, folder, template, env } = options;
  const storePath = join(folder, 'store');
  const log = join(folder, 'log');
  const backups = join(folder, 'backups');
  mkdirSync(backups);
  if (template !== null) cpSync(template, storePath, { recursive: true, verbatimSymlinks: true });
  const { stdout, stderr } = await run(
    process.execPath,
    [
      '--import',
      `${ROOT}/tests/crash/steps.ts`,
      builtProgram('tests/crash/program'),
      scenario,
      projectId,
    ],
    {
      env: {
        FILE_STORAGE_PATH: storePath,
        CACHE_PATH: join(folder, 'cache'),
        CRASH_AT: String(at),
        CRASH_ROOT: folder,
        CRASH_LOG: log,
        CRASH_BACKUPS: backups,
        ...env,
      },
    },
  );
  if (stderr !== '') throw new Error(stderr);
  const lines = stdout
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return {
    storePath,
    receipt: lines.find((line) => 'projectId' in line || 'ref' in line) ?? null,
    problems: lines.filter((line) => 'problem' in line).map((line) => line.problem),
    full: lines.find((line) => 'full' in line)?.full ?? null,
    steps: lines.find((line) => 'steps' in line)?.steps ?? null,
    unsynced: readUnsynced(folder, log),
  };
}

/** A store as the scenario finds it; `null` where it finds none. */
export async function makeTemplate(scenario: Scenario, projectId: string): Promise<string | null> {
  if (scenario === 'first save') return null;
  const storePath = await tempFolder();
  // As a process leaves it that had no time to settle.
  const isUnsettled = scenario.includes('settle');
  // What was deleted so long ago is due.
  const ago = scenario === 'purge' ? 30 * 86_400_000 : 0;
  const now = () => Date.now() - ago;
  const storage = await openTestStorage({ storePath, background: !isUnsettled, now });
  await prepare(storage, scenario, projectId);
  await storage.close();
  return storePath;
}
