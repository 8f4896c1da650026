import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../support/run.ts';

/** A stack and a folder for a benchmark. */
export type Host = {
  /** For an agent. */
  env: Record<string, string>;
  /** What the stack says of itself: its URL and its keys. */
  settings: Record<string, string>;
  folder: string;
  close(): Promise<void>;
};

/** Starts an embedded stack in a process of its own, and makes an empty folder. */
export async function startHost(): Promise<Host> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  const stack = spawn(
    process.execPath,
    [
      `${ROOT}/supabase/embedded/main.ts`,
      '--folder',
      join(folder, 'stack'),
      '--file-size-limit',
      String(4 * 1024 ** 3),
      '--port',
      '0',
      '--json',
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const [line] = (await once(createInterface(stack.stdout), 'line')) as [string];
  const settings = JSON.parse(line) as Record<string, string>;
  return {
    folder,
    settings,
    env: {
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: settings.SUPABASE_URL!,
      SUPABASE_SERVICE_KEY: settings.SUPABASE_SERVICE_KEY!,
      FILE_STORAGE_PATH: join(folder, 'store'),
      CACHE_PATH: join(folder, 'cache'),
    },
    async close() {
      await end(stack, 'SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Runs a program of a benchmark to its end; the last line it prints is its result. */
export async function runProgram<T>(
  file: string,
  args: string[],
  env: Record<string, string>,
): Promise<T> {
  const child = spawn(process.execPath, ['--expose-gc', file, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let last = '';
  for await (const line of createInterface(child.stdout)) last = line;
  const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
  if (code !== 0) throw new Error(`${file} ended with ${code}`);
  return JSON.parse(last) as T;
}

/**
 * Starts a daemon without a cloud.
 *
 * @param bin its program, from source or installed
 * @returns how long it took from its start until it could save, in milliseconds, and how to end it
 */
export async function startDaemon(
  bin: string,
  env: Record<string, string>,
): Promise<{ ms: number; end(signal: NodeJS.Signals): Promise<void> }> {
  const began = performance.now();
  const child = spawn(process.execPath, [bin, 'start'], {
    env: { ...process.env, ...env, AGENT_PORT: '0', USE_CLOUD_STORAGE: 'false' },
    // No `.env` is to be found there.
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { status } = await fetch(`${line.slice(line.indexOf('http'))}/readyz`);
  const ms = performance.now() - began;
  if (status !== 200) throw new Error(`It is not ready: ${status}`);
  return { ms, end: (signal) => end(child, signal) };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
