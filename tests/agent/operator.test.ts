/** What an operator asks for at night: how it is, what was done, and how to go on. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { hostEnvironment } from '../support/host.ts';
import type { Document } from '../support/openapi.ts';
import { PythonStore } from '../support/python-store.ts';
import { builtProgram, collect, ROOT, run, runCli } from '../support/run.ts';
import { waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const FILES = { 'main.py': 'print(1)\n' };

/** A host with a version in the cloud. */
async function makeHost() {
  const env = await hostEnvironment();
  const project = uniqueId();
  const storage = await openStorage(readConfig(env));
  await storage.save({
    projectId: project,
    version: 1,
    files: FILES,
    metadata: { promptId: 'P 7' },
  });
  await waitForStatus(storage, { projectId: project, version: 1 }, 'verified');
  await storage.close();
  const json = async (...args: string[]) => {
    const ran = await runCli([...args, '--json'], env);
    return { code: ran.code, ...JSON.parse(ran.stdout) };
  };
  return { env, project, json, cli: (...args: string[]) => runCli(args, env) };
}

test('status says what only the cloud has and what is cached; list says which, show has the metadata', async () => {
  const { env, project, json, cli } = await makeHost();
  expect(await json('status')).toMatchObject({
    only_in_cloud: 0,
    cache: { path: env.CACHE_PATH, copies: 0, bytes: 0 },
    cloud: { away: null },
    parked: [],
  });
  expect((await cli('cleanup', '--store', '--older-than', '0h')).stdout).toContain('1 originals');
  expect(await json('status')).toMatchObject({ only_in_cloud: 1 });
  expect((await cli('status')).stdout).toContain('1 of them in the cloud alone');
  expect((await cli('list', project)).stdout).toMatch(/verified +no +- +1 /);
  // Its own keys are not ours to rename.
  expect(await json('show', project, '1')).toMatchObject({
    local_path: null,
    metadata: { promptId: 'P 7' },
  });
  await cli('get', project, '1');
  const { cache, daemon_url: none } = await json('status');
  expect([cache.copies, none]).toEqual([1, null]);
  expect(cache.bytes).toBeGreaterThan(100);
  const { daemon } = await startDaemon(env);
  expect(await json('status')).toMatchObject({ daemon_url: daemon.url });
  expect((await cli('status')).stdout).toContain(`daemon       ${daemon.url}`);
});

test('status says since when the cloud is away, also where nobody asks it now, and that it is back', async () => {
  const { env, project, json, cli } = await makeHost();
  const away = { ...env, SUPABASE_URL: 'http://127.0.0.1:9' };
  const storage = await openStorage(readConfig(away));
  for (let n = 2; n < 6; n++)
    await storage.save({ projectId: project, version: n, files: { n: `${n}` } });
  while ((await storage.status()).outbox.reason === null) await sleep(20);
  await storage.close({ drainMs: 0 });
  const { cloud, outbox } = await json('status');
  expect([cloud.away.cause, outbox.owed]).toEqual(['away', 4]);
  expect(Date.parse(cloud.away.since)).toBeLessThanOrEqual(Date.now());
  expect((await cli('status')).stdout).toMatch(/ {2}away +since \d{4}-.*: Cannot /);
  expect(await json('uploads', 'retry')).toMatchObject({
    code: 0,
    items: Array.from({ length: 4 }, () => ({ outcome: 'done', failure: null })),
  });
  expect((await json('status')).cloud.away).toBeNull();
});

test('what is parked is in status with its reason; uploads retry says what came of each', async () => {
  const { env, project, json, cli } = await makeHost();
  const { error } = await serviceClient()
    .from('storage_projects')
    .update({ deleted_at: new Date().toISOString() })
    .eq('id', project);
  expect(error).toBeNull();
  const storage = await openStorage(readConfig(env));
  await storage.save({ projectId: project, version: 2, files: FILES });
  await storage.drain(10_000);
  await storage.close();
  // What waits is not parked.
  const away = { ...env, SUPABASE_URL: 'http://127.0.0.1:9' };
  await runCli(['save', `${ROOT}/docs/examples`, '--project', uniqueId()], away);
  const { parked } = await json('status');
  expect(parked).toMatchObject([
    { project_id: project, version: 2, failure: expect.stringContaining('deleted') },
  ]);
  expect((await cli('status')).stdout).toContain(`parked     ${project} v2: `);
  const again = await json('uploads', 'retry');
  expect(again).toMatchObject({
    code: 3,
    retried: 1,
    items: expect.arrayContaining([
      expect.objectContaining({ project_id: project, version: 2, outcome: 'parked' }),
    ]),
  });
});

test('delete --all deletes a project; a version is not left out by mistake', async () => {
  const { project, json, cli } = await makeHost();
  await cli('save', `${ROOT}/docs/examples`, '--project', project);
  expect(await cli('delete', project)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--all'),
  });
  expect(await cli('delete', project, '1', '--all')).toMatchObject({ code: 2 });
  expect((await cli('delete', project, '--all')).stdout).toBe(
    `${project}: 2 generations deleted\n`,
  );
  expect(await json('delete', project, '--all')).toMatchObject({ code: 0, deleted: 0 });
  expect(await cli('list', project)).toMatchObject({ code: 4 });
  expect(await cli('delete', 'nobody', '--all')).toMatchObject({ code: 4 });
  const { data } = await serviceClient()
    .from('storage_generations')
    .select('deleted_at')
    .eq('project_id', project);
  expect(data).toHaveLength(2);
  expect(data?.every(({ deleted_at }) => deleted_at !== null)).toBe(true);
});

test('activate names the folder that is in its way, and leaves it', async () => {
  const { env, project, cli } = await makeHost();
  const active = join(env.FILE_STORAGE_PATH, project, 'generations/active');
  mkdirSync(active);
  const { code, stderr } = await cli('activate', project, '1');
  expect([code, stderr]).toEqual([1, expect.stringContaining(`"${active}" is no link`)]);
  expect(readdirSync(active)).toEqual([]);
});

test('migrate that is stopped says how to go on, and goes on', async () => {
  const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
  const old = new PythonStore(env.FILE_STORAGE_PATH);
  for (let n = 1; n <= 60; n++)
    old.versioned({ projectId: 'shop', version: n, generationId: `g-${n}` }, FILES);
  const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'migrate'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const generations = join(env.FILE_STORAGE_PATH, 'shop/generations');
  const isBegun = () =>
    readdirSync(generations, { recursive: true }).some((name) => String(name).endsWith('.tar.gz'));
  while (!isBegun()) await sleep(5);
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([130, null]);
  const { stdout, stderr } = output();
  expect(stderr).toContain('The same command goes on');
  expect(stdout).toMatch(/^found +\d+ so far$/m);
  const migrated = Number(/^migrated +(\d+)$/m.exec(stdout)?.[1]);
  expect(migrated).toBeGreaterThan(0);
  expect(migrated).toBeLessThan(60);
  const rest = JSON.parse((await runCli(['migrate', '--json'], env)).stdout);
  expect(rest).toMatchObject({ found: 60, known: migrated, failed: 0 });
});

test('migrate --from-bucket with a key that may not look there, or of another bucket, is no success', async () => {
  const env = await hostEnvironment();
  const nowhere = await runCli(['migrate', '--from-bucket'], env);
  expect(nowhere).toMatchObject({ code: 4, stderr: expect.stringContaining(env.SUPABASE_BUCKET) });
  const { token } = await makeUser();
  const ran = await runCli(['migrate', '--from-bucket'], {
    ...env,
    SUPABASE_SERVICE_KEY: `${token.slice(0, -4)}AAAA`,
  });
  expect([ran.code === 0, ran.stdout]).toEqual([false, '']);
});

test('a project of which only archives are left is no flat one', async () => {
  const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
  const old = new PythonStore(env.FILE_STORAGE_PATH);
  old.archived({ projectId: 'shop', version: 1, generationId: 'g-1' }, FILES);
  const plan = JSON.parse((await runCli(['migrate', '--dry-run', '--json'], env)).stdout);
  expect(plan).toMatchObject({ found: 1, migrated: 1, failed: 0, problems: [] });
  expect((await runCli(['migrate'], env)).code).toBe(0);
  const got = await runCli(['get', 'shop', '1'], env);
  expect(readdirSync(got.stdout.trim())).toEqual(['main.py']);
});

test('owners.json: what cannot be used is named with its project', async () => {
  const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
  const file = join(await tempFolder(), 'owners.json');
  writeFileSync(file, '{"shop": "3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11", "other": "ada"}');
  const { code, stderr } = await runCli(['migrate', '--owners', file], env);
  expect([code, stderr]).toEqual([1, expect.stringContaining('of project "other": "ada"')]);
});

test('a daemon on every address gives out no URL that leads nowhere, but the one it is told', async () => {
  const token = 'a-token-of-this-test';
  const save = async (env: Record<string, string>) => {
    const { daemon } = await startDaemon({ AGENT_HOST: '0.0.0.0', AGENT_TOKEN: token, ...env });
    const answer = await fetch(`http://127.0.0.1:${new URL(daemon.url).port}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ project_id: 'shop', files: FILES }),
    });
    return { url: (await answer.json()).download_url, log: daemon.output().stderr };
  };
  const unknown = await save({});
  expect([unknown.url, unknown.log]).toEqual([null, expect.stringContaining('AGENT_PUBLIC_URL')]);
  const known = await save({ AGENT_PUBLIC_URL: 'http://files.example:8787' });
  expect(known.url).toMatch(
    /^http:\/\/files\.example:8787\/v1\/projects\/shop\/1\/archive\.tar\.gz\?/,
  );
});

test('the log says what runs, what each request was about, what failed with which code, and what arrived', async () => {
  const env = await hostEnvironment();
  const { daemon } = await startDaemon(env);
  const project = uniqueId();
  const post = (body: object) =>
    fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  expect((await post({ project_id: project, files: FILES })).status).toBe(201);
  expect((await post({ project_id: project, files: { '../a': '' } })).status).toBe(400);
  expect((await fetch(`${daemon.url}/v1/projects/${project}/9`)).status).toBe(404);
  const lines = () =>
    daemon
      .output()
      .stderr.split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  await expect
    .poll(() => lines().some(({ event }) => event === 'generation.verified'), { timeout: 20_000 })
    .toBe(true);
  const [first] = lines();
  expect(first).toMatchObject({
    msg: 'started',
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    store: env.FILE_STORAGE_PATH,
    cloud: `${env.SUPABASE_URL}, bucket "${env.SUPABASE_BUCKET}"`,
  });
  const requests = lines().filter(({ msg }) => msg === 'request');
  expect(requests).toMatchObject([
    { method: 'POST', status: 201, project_id: project, version: 1 },
    { method: 'POST', status: 400, code: 'invalid_input' },
    { method: 'GET', status: 404, code: 'not_found', project_id: project, version: 9 },
  ]);
  expect(lines().find(({ event }) => event === 'generation.verified')).toMatchObject({
    project_id: project,
    version: 1,
  });
  expect(daemon.output().stderr).not.toContain(env.SUPABASE_SERVICE_KEY);
});

test('a deletion that is not permitted changes nothing', async () => {
  if (process.getuid?.() !== 0) return;
  const NOBODY = 65_534;
  const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
  await runCli(['save', `${ROOT}/docs/examples`, '--project', 'shop'], env);
  const store = env.FILE_STORAGE_PATH;
  for (const name of ['', ...readdirSync(store, { recursive: true, encoding: 'utf8' })]) {
    chownSync(join(store, name), NOBODY, NOBODY);
  }
  const generations = join(store, 'shop/generations');
  const folder = join(
    generations,
    readdirSync(generations).find((name) => name.startsWith('v1__'))!,
  );
  chownSync(folder, 0, 0);
  const as = { env: { ...env, CACHE_PATH: store }, uid: NOBODY, cwd: '/' };
  const bin = builtProgram('node-agent/bin');
  const refused = await run(process.execPath, [bin, 'delete', 'shop', '1'], as);
  expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('is of user 0')]);
  chownSync(folder, NOBODY, NOBODY);
  // Also for a catalog that is made again.
  rmSync(join(store, '.codebegen-storage/catalog.sqlite'));
  const listed = await run(process.execPath, [bin, 'list', 'shop'], as);
  expect([listed.code, listed.stdout]).toEqual([0, expect.stringContaining('v1 ')]);
});

test('an owner that was decided counts for a catalog that is made again', async () => {
  const { env, project, json, cli } = await makeHost();
  const [first, second] = [await makeUser(), await makeUser()];
  await cli('save', `${ROOT}/docs/examples`, '--project', project, '--owner', first.id);
  expect((await cli('owner', project, second.id, '--transfer')).code).toBe(0);
  rmSync(join(env.FILE_STORAGE_PATH, '.codebegen-storage'), { recursive: true });
  await json('status');
  const storage = await openStorage(readConfig(env));
  await waitForStatus(storage, { projectId: project, version: 2 }, 'verified');
  await storage.close();
  expect(await json('status')).toMatchObject({ outbox: { parked: 0 } });
});

test('what one process noted of an outage another one that gets through takes back', async () => {
  const { env, project, json } = await makeHost();
  // In the background it would take it back before it is looked at.
  const storage = await openStorage({ ...readConfig(env), background: false });
  const refused = { ...env, SUPABASE_SERVICE_KEY: 'sb_secret_of-another-project' };
  await runCli(['save', `${ROOT}/docs/examples`, '--project', project], refused);
  expect((await json('status')).cloud.away).toMatchObject({ cause: 'refused' });
  await storage.learnChanges();
  expect((await json('status')).cloud.away).toBeNull();
  await storage.close();
});

test('a daemon whose key is refused serves what lies here, and blames no token of the caller', async () => {
  const { env, project } = await makeHost();
  const { daemon } = await startDaemon({
    ...env,
    SUPABASE_SERVICE_KEY: 'sb_secret_of-another-project',
  });
  const own = await fetch(`${daemon.url}/v1/projects/${project}/1/download`);
  expect(own.status).toBe(200);
  expect((await fetch((await own.json()).url)).status).toBe(200);
  const unknown = await fetch(`${daemon.url}/v1/projects/${project}/7/open`, { method: 'POST' });
  expect([unknown.status, (await unknown.json()).code]).toEqual([503, 'unavailable']);
});

test('a dry run of migrate where no store is says so', async () => {
  const folder = await tempFolder();
  const unset = { FILE_STORAGE_PATH: undefined, CACHE_PATH: undefined };
  const ran = await runCli(['migrate', '--dry-run'], unset, folder);
  expect([ran.code, ran.stderr]).toEqual([4, expect.stringContaining('There is no store')]);
  const listed = await runCli(['list', 'shop'], { ...(await hostEnvironment()), ...unset }, folder);
  expect(listed.code).toBe(4);
  expect((await runCli(['doctor'], unset, folder)).stdout).toContain('! configuration');
  expect(readdirSync(folder)).toEqual([]);
});

/** Whether a process has a file open. */
function hasOpen(pid: number, file: string): boolean {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((fd) => {
    try {
      return readlinkSync(join(folder, fd)) === file;
    } catch {
      // It was closed just now.
      return false;
    }
  });
}

test.skipIf(process.platform !== 'linux')(
  'a daemon that is stopped while it starts stops',
  async () => {
    const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
    const own = join(env.FILE_STORAGE_PATH, '.codebegen-storage');
    mkdirSync(own, { recursive: true });
    const lockPath = join(own, 'open.lock');
    const lock = new DatabaseSync(lockPath);
    lock.exec('begin exclusive');
    const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'start'], {
      env: { ...process.env, ...env, AGENT_PORT: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = collect(child);
    // It waits for whoever has the lock.
    while (!hasOpen(child.pid!, lockPath)) await sleep(20);
    child.kill('SIGTERM');
    lock.close();
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(output().stdout).toBe('');
  },
);

test('a host that lost its disk gives out URLs of what the cloud has, without a store and with one', async () => {
  const { env, project } = await makeHost();
  const fresh = { ...env, FILE_STORAGE_PATH: join(await tempFolder(), 'none') };
  const url = await runCli(['url', project, '1'], fresh);
  expect([url.code, (await fetch(url.stdout.trim())).status]).toEqual([0, 200]);
  expect((await runCli(['url', project, '2'], fresh)).code).toBe(4);
  await runCli(['save', `${ROOT}/docs/examples`, '--project', uniqueId()], fresh);
  const again = await runCli(['url', project, '1', '--json'], fresh);
  expect(JSON.parse(again.stdout)).toMatchObject({
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  const other = await runCli(['url', project, '1', '--generation', 'other'], fresh);
  expect(other.code).toBe(4);
  const { daemon } = await startDaemon(fresh);
  const one = `${daemon.url}/v1/projects/${project}/1`;
  const given = (await (await fetch(`${one}/download`)).json()) as { url: string };
  expect((await fetch(given.url)).status).toBe(200);
  const archive = await fetch(`${one}/archive.tar.gz`, { redirect: 'manual' });
  expect(archive.status).toBe(302);
  // As the document says.
  const document = (await (await fetch(`${daemon.url}/openapi.json`)).json()) as Document;
  const { get } = document.paths['/v1/projects/{project}/{version}/archive.tar.gz']!;
  expect(get!.responses).toHaveProperty('302');
});

test('uploads retry says which version a generation got', async () => {
  const { env, project } = await makeHost();
  const elsewhere = await hostEnvironment({ SUPABASE_BUCKET: env.SUPABASE_BUCKET });
  const away = { ...elsewhere, SUPABASE_URL: 'http://127.0.0.1:9' };
  const saved = await runCli(['save', `${ROOT}/docs/examples`, '--project', project], away);
  expect(saved.stdout).toContain('v1');
  const retried = await runCli(['uploads', 'retry'], elsewhere);
  expect([retried.code, retried.stdout]).toEqual([0, expect.stringContaining('done, as v2')]);
});

test('uploads renumber of what was not tried yet tries it first', async () => {
  const { env, project } = await makeHost();
  const elsewhere = await hostEnvironment({ SUPABASE_BUCKET: env.SUPABASE_BUCKET });
  const away = { ...elsewhere, SUPABASE_URL: 'http://127.0.0.1:9' };
  const args = ['save', `${ROOT}/docs/examples`, '--project', project, '--version', '1'];
  expect((await runCli(args, away)).code).toBe(0);
  const moved = await runCli(['uploads', 'renumber', project, '1'], elsewhere);
  expect([moved.code, moved.stdout], moved.stderr).toEqual([0, `${project} v1 is v2 now\n`]);
  const again = await runCli(['uploads', 'renumber', project, '2'], elsewhere);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('nothing is in its way')]);
});
