import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { builtProgram, run, runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

describe('a command', () => {
  test('save, list, show, get, status and delete: one generation from the first to the last', async () => {
    const { env, source } = await workplace();
    const cli = (...args: string[]) => runCli(args, env);

    const saved = await cli(
      ...['save', source, '--project', 'shop', '--version', '1', '--generation', 'g1', '--json'],
    );
    expect(saved.code, saved.stderr).toBe(0);
    const receipt = JSON.parse(saved.stdout);
    expect(receipt).toMatchObject({
      project_id: 'shop',
      version: 1,
      generation_id: 'g1',
      file_count: 2,
      status: 'local',
      created: true,
    });

    const listed = JSON.parse((await cli('list', 'shop', '--json')).stdout);
    expect(listed).toMatchObject({ items: [{ version: 1, status: 'local' }], next_cursor: null });
    const projects = JSON.parse((await cli('list', '--json')).stdout);
    expect(projects).toMatchObject({ items: [{ project_id: 'shop', versions: 1 }] });
    expect((await cli('list', 'shop')).stdout).toMatch(/^VERSION .*\nv1 +g1 +local/);
    // The command that saved it has settled it.
    expect(JSON.parse((await cli('show', 'shop', '1', '--json')).stdout)).toMatchObject({
      digest: receipt.digest,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });

    const path = (await cli('get', 'shop', '1')).stdout.trim();
    expect(readTree(path)).toEqual(readTree(source));
    const to = join(await tempFolder(), 'restored');
    expect((await cli('get', 'shop', '1', '--to', to)).code).toBe(0);
    expect(readTree(to)).toEqual(readTree(source));
    const again = await cli('get', 'shop', '1', '--to', to, '--json');
    expect(again.code).toBe(1);
    expect(JSON.parse(again.stdout)).toMatchObject({ code: 'conflict', status: 409 });
    if (process.platform === 'linux') {
      const nowhere = await cli('get', 'shop', '1', '--to', '/proc/nope/restored');
      expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringContaining('"/proc/nope"') });
    }

    const status = JSON.parse((await cli('status', '--json')).stdout);
    expect(status).toMatchObject({ generations: { local: 1 }, outbox: { owed: 1, parked: 0 } });

    expect((await cli('delete', 'shop', '1', '--generation', 'other')).code).toBe(4);
    expect((await cli('delete', 'shop', '1')).code).toBe(0);
    const repeated = await cli('delete', 'shop', '1');
    expect(repeated).toMatchObject({ code: 0, stdout: expect.stringContaining('already') });
    expect((await cli('get', 'shop', '1')).code).toBe(4);
  });

  test('diff, activate, owner, uploads and cleanup', async () => {
    const { env, source } = await workplace();
    const cli = (...args: string[]) => runCli(args, env);
    const json = async (...args: string[]) => JSON.parse((await cli(...args, '--json')).stdout);
    await cli('save', source, '--project', 'shop');
    await writeFiles(source, { 'new.txt': 'new', 'app/main.py': 'other' });
    await cli('save', source, '--project', 'shop');

    const diff = await cli('diff', 'shop', '1', '2');
    expect(diff.stdout.split('\n')).toEqual(expect.arrayContaining(['A new.txt', 'M app/main.py']));
    expect(await json('diff', 'shop', '2', '1')).toMatchObject({
      from: 2,
      to: 1,
      removed: [{ path: 'new.txt', size: 3 }],
    });
    expect((await cli('diff', 'shop', '1', '3')).code).toBe(4);

    expect((await cli('activate', 'shop', '2')).stdout).toBe('shop v2 is active\n');
    expect((await cli('activate', 'shop', '9')).code).toBe(4);

    const owner = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
    expect((await cli('owner', 'shop', owner)).stdout).toBe(`shop is now of ${owner}\n`);
    expect(await json('owner', 'shop', owner)).toMatchObject({ changed: false, owner_id: owner });
    const other = await cli('owner', 'shop', owner.replace('3f', '4f'));
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('it has an owner')]);
    expect((await cli('owner', 'nothing', owner)).code).toBe(4);
    expect((await cli('owner', 'shop', 'ada')).code).toBe(2);
    expect((await cli('list')).stdout).toContain(owner);

    expect((await cli('uploads')).stdout).toMatch(/^PROJECT .*\nshop +v1 +reserve /);
    const page = await json('uploads', '--limit', '1');
    expect(page).toMatchObject({ items: [{ project_id: 'shop', version: 1, parked: false }] });
    expect(await json('uploads', '--cursor', String(page.next_cursor))).toMatchObject({
      items: [{ version: 2 }],
      next_cursor: null,
    });
    expect((await cli('uploads', 'retry')).stdout).toMatch(
      /^PROJECT +VERSION +OUTCOME +FAILURE\nshop +v1 +waiting +-\nshop +v2 +waiting +-\n$/,
    );
    expect((await cli('uploads', 'rety')).code).toBe(2);
    expect(await json('cleanup')).toEqual({ evicted: 0, bytes: 0 });

    const args = ['save', source, '--project', 'shop', '--version', '1'];
    expect((await cli(...args)).code).toBe(1);
    expect((await cli(...args, '--replace')).code).toBe(0);
  });

  test('save with the cloud on uploads before it ends, and url signs', async () => {
    const { env, source } = await workplace();
    const cloud = {
      ...env,
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: inject('stack').SUPABASE_URL,
      SUPABASE_SECRET_KEY: inject('stack').SUPABASE_SECRET_KEY,
      SUPABASE_BUCKET: uniqueId('bucket'),
    };
    const project = uniqueId();
    const saved = await runCli(['save', source, '--project', project, '--json'], cloud);
    expect(saved.code, saved.stderr).toBe(0);
    expect(JSON.parse((await runCli(['show', project, '1', '--json'], cloud)).stdout).status).toBe(
      'verified',
    );
    const url = (await runCli(['url', project, '1', '--expires-in', '60'], cloud)).stdout.trim();
    expect((await fetch(url)).status).toBe(200);
    expect((await runCli(['url', project, '1'], env)).code).toBe(1);
  });

  test.each([
    ['no command', []],
    ['an unknown command', ['explode']],
    ['an unknown option', ['list', '--nope']],
    ['a missing option', ['save', '.']],
    ['a bad id', ['list', '../x']],
    ['a bad version', ['get', 'p', '0']],
    ['too many arguments', ['get', 'p', '1', '2']],
  ])('with %s is wrong usage: exit 2, help on stderr, nothing on stdout', async (_, args) => {
    const { env } = await workplace();
    const ran = await runCli(args, env);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).not.toBe('');
    const json = await runCli([...args, '--json'], env);
    if (args.length > 0) expect(JSON.parse(json.stdout)).toMatchObject({ code: 'invalid_input' });
  });

  test('with a configuration that is wrong names every problem and no secret', async () => {
    const ran = await runCli(['list'], {
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_SERVICE_KEY: 'very-secret-value',
      SUPABASE_URL: 'nope',
      UPLOAD_CONCURRENCY: 'many',
    });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/SUPABASE_URL.*UPLOAD_CONCURRENCY/);
    expect(ran.stderr + ran.stdout).not.toContain('very-secret-value');
  });
});

test('a list of a project that is nowhere is not_found', async () => {
  const { env, source } = await workplace();
  await runCli(['save', source, '--project', 'shop'], env);
  expect(await runCli(['list', 'NOPE'], env)).toMatchObject({
    code: 4,
    stdout: '',
    stderr: expect.stringContaining('"NOPE"'),
  });
});

test.skipIf(process.platform !== 'linux').each([['status'], ['list', '--json']])(
  'an answer of %s that cannot be printed is an error',
  async (...args) => {
    const { env, source } = await workplace();
    await runCli(['save', source, '--project', 'shop'], env);
    const command = [process.execPath, builtProgram('node-agent/bin'), ...args].join(' ');
    const ran = await run('sh', ['-c', `${command} > /dev/full`], { env });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toBe('Cannot print the answer: ENOSPC\n');
  },
);

test.each([
  [['status']],
  [['list']],
  [['list', 'p']],
  [['show', 'p', '1']],
  [['diff', 'p', '1', '2']],
  [['verify']],
  [['get', 'p', '1']],
])('%j where no store is says so, and makes none', async (args) => {
  const folder = await tempFolder();
  const ran = await runCli(args, { FILE_STORAGE_PATH: undefined, CACHE_PATH: undefined }, folder);
  expect(ran).toMatchObject({ code: 4, stdout: '' });
  expect(ran.stderr).toContain(`There is no store at "${join(folder, 'storage/projects')}"`);
  expect(await readdir(folder)).toEqual([]);
});

async function workplace() {
  const folder = await tempFolder();
  const source = join(folder, 'source');
  await writeFiles(source, { 'app/main.py': 'print(1)\n', 'README.md': '# Shop\n' });
  return { source, env: { FILE_STORAGE_PATH: join(folder, 'projects') } };
}
