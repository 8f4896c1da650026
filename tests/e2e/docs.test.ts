/** The commands of the documents, as they stand there, and the unit for systemd. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { readConfig } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { hostEnvironment } from '../support/host.ts';
import { startManagementApi } from '../support/management-api.ts';
import { startPostgres } from '../support/postgres.ts';
import { PythonStore } from '../support/python-store.ts';
import { documentedReplica } from '../support/replica.ts';
import { builtProgram, ROOT, run } from '../support/run.ts';
import { openTestStorage, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

type Place = {
  folder?: string;
  daemonUrl?: string;
  env?: Record<string, string>;
  /** What stands for the documents' `shop`: they share a cloud. */
  shop?: string;
  /** What else stands for what is in the documents. */
  replaced?: Readonly<Record<string, string>>;
};

/**
 * Runs every shell block of a document, one line after another, with `codebegen-storage` on the PATH.
 *
 * @param elsewhere lines that begin so are run by something else
 */
async function runBlocks(name: string, place: Place, elsewhere: string[] = []): Promise<void> {
  const env = { ...(await hostEnvironment()), ...place.env };
  const blocks = blocksOf(name, 'sh');
  expect(blocks.length).toBeGreaterThan(0);
  const { folder = await tempFolder(), shop = uniqueId() } = place;
  const bin = await tempFolder();
  const command = join(bin, 'codebegen-storage');
  writeFileSync(
    command,
    `#!/bin/sh\nexec ${process.execPath} ${builtProgram('node-agent/bin')} "$@"\n`,
  );
  chmodSync(command, 0o755);
  writeFileSync(join(folder, 'key'), inject('stack').SUPABASE_SERVICE_KEY);
  for (const line of blocks.join('').trim().split('\n')) {
    if (elsewhere.some((begin) => line.startsWith(begin))) continue;
    const script = Object.entries(place.replaced ?? {}).reduce(
      (text, [from, to]) => text.replaceAll(from, to),
      line.replaceAll('http://127.0.0.1:8787', place.daemonUrl ?? '').replaceAll(/\bshop\b/g, shop),
    );
    const ran = await run('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: folder,
      env: { ...env, PATH: `${bin}:${process.env.PATH}` },
    });
    expect(ran.code, `${line}\n${ran.stdout}${ran.stderr}`).toBe(0);
  }
}

function blocksOf(name: string, language: string): string[] {
  const text = readFileSync(join(ROOT, 'docs', name), 'utf8');
  const blocks = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g');
  return [...text.replaceAll(/^ {3}/gm, '').matchAll(blocks)].map(([, block]) => block!);
}

/** A clone of this project as it is now, with its packages. */
async function clone(): Promise<string> {
  const folder = await tempFolder();
  for (const name of ['functions', 'supabase', 'package.json', 'deno.json']) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const commit =
    'git init -q && git add functions && git -c user.name=t -c user.email=t commit -qm t';
  expect((await run('sh', ['-c', commit], { cwd: folder })).code).toBe(0);
  return folder;
}

/** A new Supabase project: a database to push to, and who takes its function. */
async function newProject() {
  const { url, pg } = await startPostgres();
  const { env, deployed } = await startManagementApi();
  const project = { DATABASE_URL: url, PROJECT_REF: 'abcdefghijklmnopqrst' };
  return { env: { ...env, ...project }, pg, deployed };
}

test('docs/setup.md', async () => {
  const { env, pg, deployed } = await newProject();
  const folder = await clone();
  // The key is in a file: that of the operator, then that of the host.
  await runBlocks('setup.md', { folder, env: { ...env, SUPABASE_SERVICE_KEY: '' } });
  expect(deployed).toHaveLength(2);
  const { rows } = await pg.query('select version from supabase_migrations.schema_migrations');
  expect(rows).toHaveLength(readdirSync(join(ROOT, 'supabase/migrations')).length);
  for (const name of ['generations', 'hosts']) {
    expect(existsSync(join(folder, `dist/${name}.js`))).toBe(true);
  }
});

test('docs/rollback.md', async () => {
  const { env, pg, deployed } = await newProject();
  const folder = await clone();
  const cli = ['supabase', 'db', 'push', `--remote=${env.DATABASE_URL}`, '--yes'];
  const push = () => run('npx', cli, { cwd: folder, env });
  expect((await push()).code).toBe(0);
  const agent = await hostEnvironment();
  const files = { 'a.txt': 'v1' };
  const storage = await openTestStorage(readConfig(agent));
  const shop = uniqueId();
  await waitForStatus(storage, await storage.save({ projectId: shop, files }), 'verified');
  await storage.close();
  mkdirSync(join(folder, 'out'));
  writeFileSync(join(folder, 'out/a.txt'), 'v2');
  await runBlocks('rollback.md', { folder, shop, env: { ...agent, ...env, GOOD_COMMIT: 'HEAD' } });
  expect(deployed).toHaveLength(2);

  const [sql = ''] = blocksOf('rollback.md', 'sql');
  const count = `select count(*)::int as n from pg_class where relname like 'storage\\_%' union all
    select count(*)::int from pg_proc where proname like 'storage\\_%'`;
  await pg.exec(sql);
  expect((await pg.query(count)).rows).toEqual([{ n: 0 }, { n: 0 }]);
  const again = await push();
  expect(again.code, again.stderr).toBe(0);
  expect((await pg.query(count)).rows).not.toContainEqual({ n: 0 });
});

test('docs/migration.md', async () => {
  const env = await hostEnvironment();
  const shop = uniqueId();
  // The document's project, and one of no owner.
  for (const projectId of [shop, uniqueId()]) {
    const ref = { projectId, version: 1, generationId: uniqueId('g') };
    new PythonStore(env.FILE_STORAGE_PATH!).versioned(ref, { 'main.py': 'x' });
  }
  await runBlocks('migration.md', { shop, env });
});

test('docs/operations.md', async () => {
  const { storePath, daemon } = await startDaemon();
  const env = { FILE_STORAGE_PATH: storePath };
  // The drill is a test of its own: it has a cloud of its own.
  const elsewhere = ['restore', 'list --cloud', 'replicas'].map(
    (command) => `codebegen-storage ${command}`,
  );
  await runBlocks('operations.md', { env, daemonUrl: daemon.url }, elsewhere);
});

test('docs/replicas.md', async () => {
  const folder = await tempFolder();
  const { replaced } = await documentedReplica(folder);
  await runBlocks('replicas.md', { folder, replaced });
});

test('docs/maintenance.md', async () => {
  const { env, deployed } = await newProject();
  const folder = await clone();
  const agent = await hostEnvironment();
  const storage = await openTestStorage(readConfig(agent));
  const shop = uniqueId();
  const files = { 'a.txt': 'a' };
  await waitForStatus(storage, await storage.save({ projectId: shop, files }), 'verified');
  await storage.close();
  await runBlocks('maintenance.md', { folder, shop, env: { ...agent, ...env } });
  expect(deployed).toHaveLength(2);
});

test('docs/troubleshooting.md', async () => {
  await runBlocks('troubleshooting.md', {});
});

test('what docs/troubleshooting.md quotes is said somewhere', () => {
  const text = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');
  const sources = ['node-agent', 'functions', 'supabase/migrations'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|sql)$/.test(name))
      .map((name) => readFileSync(join(ROOT, folder, name), 'utf8')),
  );
  const quoted = [...text.matchAll(/^\| ([^|]*)\|/gm)].flatMap(([, seen]) =>
    [...seen!.matchAll(/"([^"]+)"/g)].map(([, words]) => words!),
  );
  expect(quoted.length).toBeGreaterThan(15);
  for (const words of quoted) {
    for (const part of words
      .split(/…|\d+/)
      .map((piece) => piece.trim())
      .filter((piece) => piece.length > 3)) {
      expect(
        sources.some((source) => source.includes(part)),
        `${words}: ${part}`,
      ).toBe(true);
    }
  }
});

test('every page with commands has them tried', () => {
  const own = readFileSync(join(ROOT, 'tests/e2e/docs.test.ts'), 'utf8');
  const withCommands = readdirSync(join(ROOT, 'docs')).filter(
    (name) => name.endsWith('.md') && blocksOf(name, 'sh').length > 0,
  );
  // Its calls are made in tests/functions/openapi.test.ts, its bench by hand.
  const elsewhere = ['api.md', 'performance.md'];
  for (const name of withCommands.filter((some) => !elsewhere.includes(some))) {
    expect(own, name).toContain(`runBlocks('${name}'`);
  }
});

test('docs/security.md', () => runBlocks('security.md', {}));

test('docs/testing.md', async () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const named = [
    ...blocksOf('testing.md', 'sh')
      .join('')
      .matchAll(/npm (?:run )?([\w:]+)/g),
  ];
  expect(named.map(([, name]) => name)).toContain('test');
  for (const [line, name] of named) expect(scripts, line).toHaveProperty([name!]);
  // The suite would run itself; `stack` is what it runs on, and conformance.test.ts runs the script.
  const elsewhere = ['npm test', 'npx vitest', 'npm run lint', 'npm run typecheck'];
  await runBlocks('testing.md', {}, [...elsewhere, 'npm run stack', 'npm run test:conformance']);
});

test.each(['README.md', ...documents()])('what %s links to is there', (name) => {
  const text = readFileSync(join(ROOT, name), 'utf8');
  for (const [link, target = '', anchor] of text.matchAll(
    /\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g,
  )) {
    const path = target === '' ? join(ROOT, name) : join(ROOT, dirname(name), target);
    expect(existsSync(path), link).toBe(true);
    if (anchor === undefined) continue;
    const headings = [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
    expect(headings, link).toContain(anchor);
  }
});

function documents(): string[] {
  const names = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  return names.map((name) => `docs/${name}`);
}

test('every variable of the configuration is in .env.example', () => {
  const example = readFileSync(join(ROOT, '.env.example'), 'utf8');
  const config = readFileSync(join(ROOT, 'node-agent/config.ts'), 'utf8');
  const names = [...config.matchAll(/(?:env\.|['"])([A-Z]+(?:_[A-Z]+)+)\b/g)].map(
    ([, name]) => name!,
  );
  const variables = [...new Set(names)];
  expect(variables.length).toBeGreaterThan(15);
  expect(variables.filter((name) => !example.includes(name))).toEqual([]);
});

test('systemd takes the unit', async (context) => {
  const unit = join(ROOT, 'docs/examples/codebegen-storage.service');
  const ran = await run('systemd-analyze', ['verify', unit]).catch(() => null);
  if (ran === null) context.skip('there is no systemd here');
  expect(ran!.stderr + ran!.stdout).not.toMatch(/codebegen-storage\.service:\d+/);
});
