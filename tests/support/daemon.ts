import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { builtProgram, collect } from './run.ts';
import { tempFolder } from './temp.ts';

type Running = { child: ChildProcess; url: string; output: ReturnType<typeof collect> };

/** Starts a daemon on a store of its own, on a free port. It goes with the test. */
export async function startDaemon(
  env: Record<string, string> = {},
  options: { uid?: number } = {},
): Promise<{ storePath: string; daemon: Running }> {
  const storePath = env.FILE_STORAGE_PATH ?? (await tempFolder());
  const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'start'], {
    env: {
      ...process.env,
      FILE_STORAGE_PATH: storePath,
      CACHE_PATH: await tempFolder(),
      AGENT_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid, cwd: '/' }),
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const output = collect(child);
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string];
  return { storePath, daemon: { child, url: line.replace('Listening on ', ''), output } };
}
