import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SERVE = fileURLToPath(new URL('./serve-functions.ts', import.meta.url));
const CONFIG = fileURLToPath(new URL('../../deno.json', import.meta.url));
const FUNCTIONS = ['generations', 'hosts'];

export type Functions = Readonly<{
  /** Where the functions are reached: `/generations/…`. */
  origin: string;
  /** Of the Deno process. */
  pid: number;
  /** Resolves if Deno ends, which it should not before `close`. */
  ended: Promise<void>;
  close(): Promise<void>;
}>;

/** Starts the Edge Functions in a Deno process, with the environment that the platform gives. */
export async function startFunctions(environment: Record<string, string>): Promise<Functions> {
  const child = spawn(
    findDeno(),
    [
      'run',
      '--quiet',
      '--no-lock',
      '--cached-only',
      '--allow-net=127.0.0.1,localhost',
      '--allow-env',
      '--allow-read',
      '--config',
      CONFIG,
      SERVE,
      ...FUNCTIONS,
    ],
    {
      env: {
        PATH: process.env.PATH ?? '',
        DENO_NO_UPDATE_CHECK: '1',
        NO_COLOR: '1',
        ...environment,
      },
      // A group of its own: Ctrl-C in the terminal reaches this process alone, which then ends
      // the child when it no longer needs it.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const ended = once(child, 'exit').then(() => {});
  const lines = createInterface(child.stdout);
  const first = await Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    once(child, 'error').then(([error]) => Promise.reject(error)),
    ended.then(() => Promise.reject(new Error('Cannot start the functions: Deno ended at once'))),
  ]);
  const { port } = JSON.parse(first) as { port: number };
  lines.on('line', (line) => console.error(`[functions] ${line}`));
  return {
    origin: `http://127.0.0.1:${port}`,
    pid: child.pid!,
    ended,
    close: async () => {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Deno itself: `node_modules/.bin/deno` is a wrapper, and killing it would orphan the child. */
export function findDeno(): string {
  const libc = process.platform === 'linux' ? '-glibc' : '';
  const name = `@deno/${process.platform}-${process.arch}${libc}/deno`;
  return createRequire(createRequire(import.meta.url).resolve('deno/package.json')).resolve(name);
}
