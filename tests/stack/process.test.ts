/** The stack as a process: its port, its folder, its end. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@supabase/supabase-js';
import { decodeProtectedHeader } from 'jose';
import { expect, inject, onTestFinished, test } from 'vitest';
import type { StackSettings } from '../support/global-setup.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const MAIN = `${ROOT}/supabase/embedded/main.ts`;

test('a port that is taken is not waited for: another one serves', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void other.close());
  const { port } = other.address() as { port: number };
  const stack = await startStack(['--memory', '--port', String(port)]);
  expect(new URL(stack.settings.SUPABASE_URL).port).not.toBe(String(port));
  expect((await fetch(stack.settings.SUPABASE_URL)).status).toBe(200);
});

test('a folder is used by one stack at a time, and keeps its data over a kill', async () => {
  const folder = await tempFolder();
  const first = await startStack(['--folder', folder, '--port', '0']);
  const service = createService(first.settings);
  await service.storage.createBucket('kept', { public: false });
  await service.storage.from('kept').upload('a.txt', 'still here');

  const second = await run(process.execPath, [MAIN, '--folder', folder, '--port', '0']);
  expect(second.code).not.toBe(0);
  expect(second.stderr).toContain('another embedded stack is running on it');

  const deno = denoOf(first.pid);
  expect(deno).toHaveLength(1);
  process.kill(first.pid, 'SIGKILL');
  await first.exited;
  while (isAlive(deno[0]!)) await sleep(20);

  const third = await startStack(['--folder', folder, '--port', '0']);
  const found = await createService(third.settings).storage.from('kept').download('a.txt');
  expect(await found.data?.text()).toBe('still here');
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s ends it with exit 0 and no child left',
  async (signal) => {
    const stack = await startStack(['--memory', '--port', '0']);
    const deno = denoOf(stack.pid);
    process.kill(stack.pid, signal);
    expect(await stack.exited).toBe(0);
    expect(deno.filter(isAlive)).toEqual([]);
    await expect(fetch(stack.settings.SUPABASE_URL)).rejects.toThrow();
  },
);

async function startStack(args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { settings: JSON.parse(line) as StackSettings, pid: child.pid!, exited };
}

function createService(settings: StackSettings) {
  return createClient(settings.SUPABASE_URL, settings.SUPABASE_SECRET_KEY, {
    auth: { persistSession: false },
  });
}

/** The processes whose parent is the given one. */
function denoOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return (
          readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] === `${pid}`
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.each([
  ['ES256', () => inject('stack')],
  [
    'HS256',
    async () => (await startStack(['--memory', '--port', '0', '--tokens', 'HS256'])).settings,
  ],
] as const)(
  'a user who signs up is one to Auth, REST, Storage and the function, with tokens of %s',
  async (algorithm, start) => {
    const settings = await start();
    const { SUPABASE_URL: url, SUPABASE_PUBLISHABLE_KEY: key } = settings;
    const client = createClient(url, key, { auth: { persistSession: false } });
    const email = `${randomUUID()}@example.com`;
    const { data, error } = await client.auth.signUp({ email, password: 'correct horse' });
    expect(error).toBeNull();
    const token = data.session!.access_token;
    expect(decodeProtectedHeader(token).alg).toBe(algorithm);
    expect((await client.auth.getUser()).data.user?.email).toBe(email);
    const list = await (await fetch(`${url}/auth/v1/.well-known/jwks.json`)).json();
    expect(list.keys).toHaveLength(algorithm === 'ES256' ? 1 : 0);
    expect(JSON.stringify(list)).not.toContain('"d"');
    const made = await client.functions.invoke('generations/projects', { body: { name: 'Shop' } });
    expect(made.error).toBeNull();
    const projects = await client.from('storage_projects').select('id');
    expect(projects.data).toMatchObject([{ id: made.data.id }]);
    expect((await client.storage.from('none').list()).error).toBeNull();
    const forged = `${token.slice(0, -4)}AAAA`;
    const refused = await fetch(`${url}/functions/v1/generations/projects`, {
      headers: { authorization: `Bearer ${forged}`, apikey: key },
    });
    expect(refused.status).toBe(401);
  },
);
