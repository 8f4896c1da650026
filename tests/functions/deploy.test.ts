import { readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { findDeno } from '../../supabase/embedded/functions.ts';
import { functionEnvironment } from '../support/cloud.ts';
import { startManagementApi } from '../support/management-api.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const PROJECT_REF = 'abcdefghijklmnopqrst';

type DenoLock = {
  specifiers: Record<string, string>;
  npm: Record<string, { integrity: string }>;
};
type Locked = { version: string; integrity: string };

test.each(['generations', 'hosts'])(
  'the real CLI deploys exactly the files that %s needs, without a warning',
  async (name) => {
    const { env, deployed } = await startManagementApi();
    const cli = join(ROOT, 'node_modules/.bin/supabase');
    const args = ['functions', 'deploy', name, '--use-api', `--remote=${PROJECT_REF}`];
    const ran = await run(cli, [...args, '--yes'], { env });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stdout + ran.stderr).not.toMatch(/warn/i);

    const { path, form } = deployed[0]!;
    expect(path).toBe(`/v1/projects/${PROJECT_REF}/functions/deploy?slug=${name}`);
    expect(JSON.parse(String(form.get('metadata')))).toMatchObject({
      name,
      entrypoint_path: `functions/${name}/index.ts`,
      import_map_path: 'functions/deno.json',
      verify_jwt: false,
    });
    const uploaded = new Map<string, string>();
    for (const file of form.getAll('file') as File[]) {
      uploaded.set(file.name, await file.text());
    }
    expect([...uploaded.keys()].sort()).toEqual(await neededFiles(name));

    // What was uploaded is enough: it is checked by Deno with nothing else around it.
    const elsewhere = await denoFolder({ importMap: './functions/deno.json' });
    for (const [path, text] of uploaded) {
      await mkdir(dirname(join(elsewhere, path)), { recursive: true });
      await writeFile(join(elsewhere, path), text);
    }
    const checked = await run(findDeno(), ['check', `functions/${name}/index.ts`], {
      cwd: elsewhere,
    });
    expect(checked.code, checked.stderr).toBe(0);
  },
);

test('the packages that are deployed are pinned, and are those that are tested', () => {
  const read = (path: string) => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
  const { specifiers, npm } = read('functions/deno.lock') as DenoLock;
  const imported = Object.values<string>(read('functions/deno.json').imports)
    .filter((specifier) => specifier.startsWith('npm:'))
    .map((specifier) => specifier.replace(/^(npm:(?:@[^/]+\/)?[^/]+).*/, '$1'));
  expect(Object.keys(specifiers).toSorted()).toEqual([...new Set(imported)].toSorted());
  const installed = read('package-lock.json').packages as Record<string, Locked>;
  for (const [name, { integrity }] of Object.entries(npm)) {
    // With what it is a peer of behind it.
    const [, id, version] = /^(@?[^@]+)@([^_]+)/.exec(name)!;
    expect(installed[`node_modules/${id}`], name).toMatchObject({ version, integrity });
  }
});

test.each([
  ['generations', ['/health', '/openapi.json', '/projects']],
  ['hosts', ['/health', '/openapi.json', '/check']],
])(
  'the bundle of %s for the dashboard is one file that serves, without an import map',
  async (name, paths) => {
    const elsewhere = await denoFolder({});
    const bundled = await run(process.execPath, [join(ROOT, 'functions/bundle.ts'), elsewhere]);
    expect(bundled.code, bundled.stderr).toBe(0);
    // As the platform's runtime does it: the handler is taken, not served.
    const script = `
    let handler;
    Object.defineProperty(Deno, 'serve', { value: (given) => { handler = given; } });
    await import('./${name}.js');
    const ask = (path) => handler(new Request('http://x/${name}' + path));
    const answers = await Promise.all(${JSON.stringify(paths)}.map(ask));
    console.log(JSON.stringify(answers.map(({ status }) => status)));`;
    await writeFile(join(elsewhere, 'ask.js'), script);
    const args = ['run', '--cached-only', '--allow-env', '--allow-read', 'ask.js'];
    const ran = await run(findDeno(), args, { cwd: elsewhere, env: functionEnvironment() });
    expect(ran.stdout, ran.stderr).toBe('[200,200,401]\n');
  },
);

/** A folder in which Deno finds the packages of this project, and no more. */
async function denoFolder(config: { importMap?: string }): Promise<string> {
  const folder = await tempFolder();
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const text = JSON.stringify({ nodeModulesDir: 'manual', lock: false, ...config });
  await writeFile(join(folder, 'deno.json'), text);
  return folder;
}

/** The local modules that Deno finds from the function's entry, and the import map. */
async function neededFiles(name: string): Promise<string[]> {
  const entry = `functions/${name}/index.ts`;
  const ran = await run(findDeno(), ['info', '--json', '--config', 'deno.json', entry]);
  const { modules } = JSON.parse(ran.stdout) as { modules: { specifier: string }[] };
  const local = modules
    .map((module) => module.specifier)
    .filter((specifier) => specifier.startsWith('file:'))
    .map((specifier) => relative(ROOT, fileURLToPath(specifier)))
    .filter((path) => path.startsWith('functions/'));
  return [...local, 'functions/deno.json', 'functions/deno.lock'].sort();
}
