/** The README's commands, as they stand there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { hostEnvironment } from '../support/host.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

test('the commands from a shell, one after another', async () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const [, commands = ''] = /## From a shell\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme) ?? [];
  const folder = await tempFolder();
  await writeFiles(folder, { 'out/app/main.py': 'print(2)\n', 'out/x.log': 'x' });
  // The command as `npm install` puts it into a clone, and a project of the test's own.
  const bin = join(ROOT, 'node_modules/.bin/codebegen-storage');
  const env = await hostEnvironment();
  const shop = uniqueId();
  for (const line of commands.trim().split('\n')) {
    const script = line.replace('npx codebegen-storage', `"${process.execPath}" "${bin}"`);
    const ran = await run('bash', ['-euc', script.replaceAll(/\bshop\b/g, shop)], {
      cwd: folder,
      env,
    });
    expect(ran.code, `${line}\n${ran.stdout}${ran.stderr}`).toBe(0);
  }
  expect(readFileSync(join(folder, 'restored/app/main.py'), 'utf8')).toBe('print(2)\n');
});

test('a generator in any language saves and gets its URL with curl alone', async () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const [, commands = ''] = /## From any language\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme) ?? [];
  const { daemon } = await startDaemon();
  const folder = await tempFolder();
  await writeFiles(folder, { 'out/app/main.py': 'print(2)\n' });
  const script = commands
    .replaceAll('http://127.0.0.1:8787', daemon.url)
    .replaceAll(/\n\n/g, '\necho\n');
  const ran = await run('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder });
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  const answers = ran.stdout.split('\n').map((line) => JSON.parse(line));
  expect(answers).toMatchObject([
    { version: 1, file_count: 1, created: true },
    { version: 2, file_count: 1, created: true },
    { version: 3, file_count: 1, created: true },
    { expires_at: expect.any(String) },
  ]);
  for (const { url, download_url = url } of answers) {
    const answer = await fetch(download_url);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/gzip']);
  }
});
