/** `init`, and that no secret's value turns up where it must not. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

const CLEAN = { USE_CLOUD_STORAGE: undefined, SUPABASE_URL: undefined };

test('writes every setting, for its owner alone, and commands use it', async () => {
  const folder = await tempFolder();
  const ran = await runCli(['init'], CLEAN, folder);
  expect([ran.code, ran.stdout], ran.stderr).toEqual([
    0,
    'Wrote .env\nNext: codebegen-storage doctor\n',
  ]);
  const file = join(folder, '.env');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, 'utf8')).toContain('\nUSE_CLOUD_STORAGE=false\n');
  await writeFiles(join(folder, 'out'), { a: 'a' });
  expect((await runCli(['save', 'out', '--project', 'p'], CLEAN, folder)).code).toBe(0);
  expect((await runCli(['status', '--json'], CLEAN, folder)).code).toBe(0);
  writeFileSync(file, 'mine');
  const again = await runCli(['init'], CLEAN, folder);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('--force')]);
  expect(readFileSync(file, 'utf8')).toBe('mine');
  expect((await runCli(['init', '--force'], CLEAN, folder)).code).toBe(0);
});

test('turns the cloud on, makes the bucket, and leaves the key in its file', async () => {
  const folder = await tempFolder();
  const stack = inject('stack');
  const bucket = uniqueId('bucket');
  // What a shell would take for its own.
  const keyFile = join(folder, 'my key #1');
  writeFileSync(keyFile, `${stack.SUPABASE_SERVICE_KEY}\n`);
  const args = ['init', '--url', stack.SUPABASE_URL, '--key-file', keyFile, '--bucket', bucket];
  const ran = await runCli([...args, '--create-bucket', '--json'], CLEAN, folder);
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  expect(JSON.parse(ran.stdout)).toEqual({ file: join(folder, '.env'), bucket, made: true });
  expect((await serviceClient().storage.getBucket(bucket)).data).toMatchObject({ public: false });
  expect(readFileSync(join(folder, '.env'), 'utf8')).not.toContain(stack.SUPABASE_SERVICE_KEY);
  const doctor = await runCli(['doctor', '--json'], CLEAN, folder);
  expect([doctor.code, JSON.parse(doctor.stdout).ok], doctor.stdout).toEqual([0, true]);
  const again = await runCli([...args, '--create-bucket', '--force'], CLEAN, folder);
  expect(again.stdout).toContain(`The bucket "${bucket}" was there`);
});

test.each([
  [['--url', 'nonsense'], 'SUPABASE_URL'],
  [['--url', 'https://x.supabase.co'], 'SUPABASE_SERVICE_KEY'],
  [['--url', 'https://x.supabase.co', '--key-file', '/nowhere'], 'SUPABASE_SERVICE_KEY_FILE'],
  [['--bucket', '../x'], 'SUPABASE_BUCKET'],
])('init %j is refused, and nothing is written', async (args, named) => {
  const folder = await tempFolder();
  const ran = await runCli(['init', ...args], CLEAN, folder);
  expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining(named)]);
  expect(existsSync(join(folder, '.env'))).toBe(false);
});

test('no secret is in what any command says, in the log, in metrics, or in an error', async () => {
  const stack = inject('stack');
  const token = `token-${uniqueId()}`;
  const env = {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: stack.SUPABASE_URL,
    SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: uniqueId('bucket'),
    AGENT_TOKEN: token,
    LOG_LEVEL: 'debug',
  };
  const { storePath, daemon } = await startDaemon(env);
  const said: string[] = [];
  const commands = [
    ['status'],
    ['doctor'],
    ['doctor', '--json'],
    ['uploads'],
    ['list'],
    ['--help'],
  ];
  const broken = {
    ...env,
    SUPABASE_SERVICE_KEY: `${stack.SUPABASE_SERVICE_KEY}x`,
    SUPABASE_URL: 'x',
  };
  const away = { ...env, SUPABASE_URL: 'http://127.0.0.1:9' };
  for (const settings of [env, broken, away]) {
    for (const command of commands) {
      const ran = await runCli(command, { ...settings, FILE_STORAGE_PATH: storePath });
      said.push(ran.stdout, ran.stderr);
    }
  }
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ project_id: uniqueId(), files: { a: 'a' } });
  for (const [path, init] of [
    ['/v1/generations', { method: 'POST', headers, body }],
    ['/v1/status', { headers }],
    ['/metrics', { headers }],
    [`/v1/nothing?token=${token}`, { headers }],
  ] as const) {
    const answer = await fetch(`${daemon.url}${path}`, init);
    if (!path.startsWith('/v1/generations')) said.push(await answer.text());
  }
  const output = daemon.output();
  const all = [...said, output.stdout, output.stderr].join('\n');
  expect(all.length).toBeGreaterThan(2000);
  for (const secret of [stack.SUPABASE_SERVICE_KEY, token]) expect(all).not.toContain(secret);
});
