import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { findDeno } from '../../supabase/embedded/functions.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const PROJECT_REF = 'abcdefghijklmnopqrst';

test('the real CLI deploys exactly the files that the function needs, without a warning', async () => {
  const api = await startApi();
  const home = await tempFolder();
  const profile = join(home, 'profile.yaml');
  await writeFile(
    profile,
    ['api_url', 'dashboard_url', 'docs_url']
      .map((name) => `${name}: ${api.url}\n`)
      .join('')
      .concat('name: stub\nproject_host: 127.0.0.1\n'),
  );
  const ran = await run(
    join(ROOT, 'node_modules/.bin/supabase'),
    [
      ...['functions', 'deploy', 'generations', '--use-api', '--yes'],
      ...[`--remote=${PROJECT_REF}`, '--profile', profile],
    ],
    {
      env: {
        HOME: home,
        SUPABASE_ACCESS_TOKEN: `sbp_${'0123456789'.repeat(4)}`,
        SUPABASE_TELEMETRY_DISABLED: '1',
        DO_NOT_TRACK: '1',
      },
    },
  );
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.stdout + ran.stderr).not.toMatch(/warn/i);

  expect(api.path).toBe(`/v1/projects/${PROJECT_REF}/functions/deploy?slug=generations`);
  expect(JSON.parse(String(api.form!.get('metadata')))).toMatchObject({
    name: 'generations',
    entrypoint_path: 'functions/generations/index.ts',
    import_map_path: 'functions/deno.json',
    verify_jwt: false,
  });
  const uploaded = new Map<string, string>();
  for (const file of api.form!.getAll('file') as File[]) {
    uploaded.set(file.name, await file.text());
  }
  expect([...uploaded.keys()].sort()).toEqual(await neededFiles());

  // What was uploaded is enough: it is checked by Deno with nothing else around it.
  const elsewhere = await tempFolder();
  for (const [name, text] of uploaded) {
    await mkdir(dirname(join(elsewhere, name)), { recursive: true });
    await writeFile(join(elsewhere, name), text);
  }
  await symlink(join(ROOT, 'node_modules'), join(elsewhere, 'node_modules'));
  const config = { nodeModulesDir: 'manual', lock: false, importMap: './functions/deno.json' };
  await writeFile(join(elsewhere, 'deno.json'), JSON.stringify(config));
  const checked = await run(findDeno(), ['check', 'functions/generations/index.ts'], {
    cwd: elsewhere,
  });
  expect(checked.code, checked.stderr).toBe(0);
});

/** The local modules that Deno finds from the function's entry, and the import map. */
async function neededFiles(): Promise<string[]> {
  const entry = 'functions/generations/index.ts';
  const ran = await run(findDeno(), ['info', '--json', '--config', 'deno.json', entry]);
  const { modules } = JSON.parse(ran.stdout) as { modules: { specifier: string }[] };
  const local = modules
    .map((module) => module.specifier)
    .filter((specifier) => specifier.startsWith('file:'))
    .map((specifier) => relative(ROOT, fileURLToPath(specifier)))
    .filter((path) => path.startsWith('functions/'));
  return [...local, 'functions/deno.json'].sort();
}

/** Stands in for the management API of Supabase and keeps what was deployed. */
async function startApi() {
  const api = { url: '', path: '', form: null as FormData | null };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    response.setHeader('content-type', 'application/json');
    if (request.method !== 'POST') {
      response.end('[]');
      return;
    }
    api.path = request.url ?? '';
    const headers = { 'content-type': request.headers['content-type'] ?? '' };
    api.form = await new Response(Buffer.concat(chunks), { headers }).formData();
    const deployed = { id: '1', slug: 'generations', name: 'generations', status: 'ACTIVE' };
    response.statusCode = 201;
    response.end(JSON.stringify({ ...deployed, version: 1, created_at: 1, updated_at: 1 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return api;
}
