/** The package as it is published, and `npx codebegen-storage` in a clone. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, run } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));

test('npx codebegen-storage starts at once in a clone, and installs nothing', async () => {
  // Where nothing can be had from elsewhere.
  const ran = await run('npx', ['--offline', 'codebegen-storage', '--version']);
  expect(ran, ran.stderr).toMatchObject({ code: 0, stdout: `${version}\n` });
  const command = join(ROOT, 'node_modules/.bin/codebegen-storage');
  expect((await run(command, ['--version'])).stdout).toBe(`${version}\n`);
});

test('the lockfile has what npm ci needs on every platform, not on the one that wrote it alone', async () => {
  type Locked = { version: string; optionalDependencies?: Record<string, string> };
  const lock = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8'));
  const packages = lock.packages as Record<string, Locked>;
  const missing: string[] = [];
  for (const [path, { optionalDependencies = {} }] of Object.entries(packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      const places = [`${path}/node_modules/${name}`, `node_modules/${name}`];
      if (!places.some((place) => place in packages)) missing.push(name);
    }
  }
  expect(missing).toEqual([]);
  for (const name of [
    '@deno/darwin-arm64',
    '@deno/linux-arm64-glibc',
    '@supabase/cli-darwin-x64',
  ]) {
    expect(packages).toHaveProperty([`node_modules/${name}`]);
  }
});

test('the packed tarball works in an empty project: command, library, client and types', async () => {
  const folder = await tempFolder();
  const packed = await run('npm', ['pack', '--json', '--pack-destination', folder]);
  expect(packed.code, packed.stderr).toBe(0);
  const [tarball] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  const names = (await run('tar', ['tzf', join(folder, tarball!)])).stdout.trim().split('\n');
  for (const name of names) {
    expect(name).toMatch(
      /^package\/(dist\/(node-agent|functions\/(_shared\/contract|client))\/.*|\.env\.example|package\.json|README\.md|LICENSE)$/,
    );
  }

  const project = join(folder, 'project');
  await writeFiles(project, {
    'package.json': '{"name":"project","private":true,"type":"module"}',
    'source/a.txt': 'a',
  });
  const install = [
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    join(folder, tarball!),
  ];
  const installed = await run('npm', install, { cwd: project });
  expect(installed.code, installed.stderr).toBe(0);

  const npx = (...args: string[]) => run('npx', ['codebegen-storage', ...args], { cwd: project });
  expect((await npx('--version')).stdout).toBe(`${version}\n`);
  const saved = await npx('save', 'source', '--project', 'p', '--json');
  expect(saved.code, saved.stderr).toBe(0);
  expect(JSON.parse(saved.stdout)).toMatchObject({ version: 1, file_count: 1, status: 'local' });

  // The README's example, as it stands there.
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  await writeFile(join(project, 'index.ts'), example);
  const library = await run(process.execPath, ['index.ts'], { cwd: project });
  expect(library.code, library.stderr).toBe(0);
  expect(library.stdout).toMatch(
    /^saved shop v1: 2 files, digest [0-9a-f]{64}\n.*source\nlocal\n$/,
  );
  // The client, typed: what does not fit is an error of the compiler.
  await writeFile(
    join(project, 'client.ts'),
    `import { createClient, type Generation, StorageError } from 'codebegen-storage/client';
    const storage = createClient('http://127.0.0.1:1', () => 'token');
    try {
      const items: Generation[] = (await storage.listGenerations('shop')).items;
      // @ts-expect-error a generation has no such field
      items[0].nothing;
    } catch (error) {
      if (error instanceof StorageError) console.log(error.code, error.retryable);
    }`,
  );
  const client = await run(process.execPath, ['client.ts'], { cwd: project });
  expect(client.stdout, client.stderr).toBe('unavailable true\n');
  const types = await run(
    join(ROOT, 'node_modules/.bin/tsc'),
    [
      // skipLibCheck: supabase-js does not agree with the DOM types of TypeScript 7.
      ...['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2024'],
      ...['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')],
      ...['index.ts', 'client.ts'],
    ],
    { cwd: project },
  );
  expect(types.stdout).toBe('');
  expect(types.code).toBe(0);
});
