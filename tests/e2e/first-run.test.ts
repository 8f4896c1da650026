/** `npm start`, as a newcomer runs it, on trees that it was not made for. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { ROOT, run, runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

const MAIN = `${ROOT}/supabase/embedded/first-run/main.ts`;

test('3 000 files with deep paths, binary, empty and non-ASCII ones go the whole path', async () => {
  const folder = join(await tempFolder(), 'my shop');
  const files: Record<string, string | Uint8Array> = {};
  for (let i = 0; i < 2990; i++) {
    const deep = Array.from({ length: i % 25 }, (_, level) => `level${level}`).join('/');
    const content = i % 3 === 0 ? '' : i % 3 === 1 ? `text ${i}\n`.repeat(i % 50) : binary(i);
    files[join(deep, `file-${i}.dat`)] = content;
  }
  files['ünïcödé/文件/😀 emoji.md'] = 'ä';
  files['with space/and (brackets) & more!.txt'] = 'x';
  files[`${'d'.repeat(200)}/${'e'.repeat(200)}/${'f'.repeat(255)}`] = 'long';
  files['-starts-with-dash'] = 'x';
  files['.hidden/.env'] = 'SECRET=1';
  files['quote\'"$`.sh'] = 'x';
  files['big.bin'] = binary(3_000_000);
  files['*?[glob]'] = 'x';
  files['%41%2e%2e'] = 'x';
  files['e\u0301te\u0301-nfd'] = 'x';
  await writeFiles(folder, files);

  const { code, report, stderr } = await runOnce(folder, await tempFolder());
  expect(code, stderr).toBe(0);
  expect(report).toMatchObject({
    ok: true,
    project_id: 'my-shop',
    version: 1,
    saved: { files: 3000 },
    uploaded: { status: 'verified' },
    listed: 1,
    download: { status: 200, identical_files: 3000, different_files: 0 },
    other_user: { status: 404 },
  });
  expect(report.download.sha256).toBe(report.saved.sha256);
  expect(report.uploaded.object_key).toMatch(/^my-shop\/generations\/v1__[\w-]+\.tar\.gz$/);
});

test('an empty folder is a clear error and exit 1', async () => {
  const folder = join(await tempFolder(), 'empty');
  await mkdir(folder);
  const { code, report, stderr } = await runOnce(folder, await tempFolder());
  expect(code).toBe(1);
  expect(report).toMatchObject({
    ok: false,
    error: { code: 'invalid_input', detail: expect.stringContaining(folder) },
  });
  expect(stderr).toContain('holds no files');
});

test('without --once it keeps serving, and Ctrl-C leaves no process and no lock behind; the next start finds its data', async () => {
  const data = await tempFolder();
  const folder = join(await tempFolder(), 'tree');
  await writeFiles(folder, { 'a.txt': 'a' });
  // A group of its own, so that the signal reaches all of it, as from a terminal.
  const child = spawn(process.execPath, [MAIN, '--data', data, '--port', '0', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    lines.push(line);
    if (line.includes('createClient(')) break;
  }
  const text = lines.join('\n');
  expect(text).toContain('All as it must be.');
  // What it says to go on with works.
  const [, origin, place] = /^ {2}(http:\S+?)\/#(\/projects\/\S+)$/m.exec(text)!;
  expect(place).toBe('/projects/tree/1');
  expect(await (await fetch(`${origin}/`)).text()).toContain('<title>codebegen-storage</title>');
  expect((await fetch(`${origin}/dashboard/app.js`)).status).toBe(200);
  const shown = await (await fetch(`${origin}/v1${place}/files`)).json();
  expect(shown.items).toMatchObject([{ path: 'a.txt' }]);
  const exported = /SUPABASE_URL=(\S+)[\s\S]*SUPABASE_SERVICE_KEY=(\S+)/.exec(text)!;
  const env = {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: exported[1],
    SUPABASE_SERVICE_KEY: exported[2],
    FILE_STORAGE_PATH: join(data, 'projects'),
  };
  const listed = await runCli(['list', 'tree', '--json'], env);
  expect(JSON.parse(listed.stdout).items).toMatchObject([{ version: 1, status: 'verified' }]);
  const url = (await runCli(['url', 'tree', '1'], env)).stdout.trim();
  expect((await fetch(url)).status).toBe(200);

  process.kill(-child.pid!, 'SIGINT');
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
  const left = await run('ps', ['-eo', 'pid,args']);
  expect(left.stdout.split('\n').filter((line) => line.includes(data))).toEqual([]);
  await expect(fetch(url)).rejects.toThrow();
  const again = await runCli(['list', 'tree', '--json'], {
    FILE_STORAGE_PATH: env.FILE_STORAGE_PATH,
  });
  expect(again.code).toBe(0);
  expect((await runOnce(folder, data)).report).toMatchObject({ ok: true, version: 2, listed: 2 });
});

/** Runs it with `--once --json`. */
async function runOnce(folder: string, data: string) {
  const args = [MAIN, '--once', '--json', '--data', data, '--port', '0', folder];
  const ran = await run(process.execPath, args);
  return { code: ran.code, report: JSON.parse(ran.stdout), stderr: ran.stderr };
}

function binary(seed: number): Uint8Array {
  return Uint8Array.from({ length: seed % 3_000_001 }, (_, i) => (i * seed * 31 + (i >> 8)) & 255);
}
