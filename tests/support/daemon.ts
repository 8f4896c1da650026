import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, onTestFinished } from 'vitest';
import { builtProgram, collect } from './run.ts';
import { tempFolder } from './temp.ts';

type Running = { child: ChildProcess; url: string; output: ReturnType<typeof collect> };

/** Starts a daemon on a store of its own, on a free port. It goes with the test. */
export async function startDaemon(
  env: Record<string, string> = {},
  options: { uid?: number } = {},
): Promise<{ storePath: string; daemon: Running }> {
  const storePath = env.FILE_STORAGE_PATH ?? (await tempFolder());
  const started = spawnDaemon({ CACHE_PATH: await tempFolder(), ...env, storePath }, options);
  onTestFinished(started.end);
  return { storePath, daemon: await started.running() };
}

/**
 * Has one daemon for all tests of a `describe`, which leave nothing in it.
 *
 * @returns it, to be called in a test
 */
export function shareDaemon(): () => { storePath: string; daemon: Running } {
  let shared: { storePath: string; daemon: Running };
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'codebegen-test-'));
    const storePath = join(folder, 'store');
    const started = spawnDaemon({ CACHE_PATH: join(folder, 'cache'), storePath });
    shared = { storePath, daemon: await started.running() };
    return async () => {
      await started.end();
      await rm(folder, { recursive: true, force: true });
    };
  });
  return () => shared;
}

function spawnDaemon(
  { storePath, ...env }: Record<string, string> & { storePath: string },
  options: { uid?: number } = {},
) {
  const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'start'], {
    env: { ...process.env, FILE_STORAGE_PATH: storePath, AGENT_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid, cwd: '/' }),
  });
  const output = collect(child);
  return {
    async running(): Promise<Running> {
      const [line] = (await once(createInterface(child.stdout!), 'line')) as [string];
      return { child, url: line.replace('Listening on ', ''), output };
    },
    async end(): Promise<void> {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
