/** `migrate`: what the Python system left is brought to the cloud, and nothing of it is lost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { asUser, callInProcess } from '../support/edge.ts';
import { hostEnvironment } from '../support/host.ts';
import { PythonStore } from '../support/python-store.ts';
import { builtProgram, runCli } from '../support/run.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { makeTarGz } from '../support/tar.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree, readTexts } from '../support/tree.ts';

const OWNER = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
const FILES = { 'main.py': 'print(1)\n', 'app/Käse.py': 'x = 1\n', empty: '' };

async function workplace() {
  const env = await hostEnvironment();
  const { FILE_STORAGE_PATH: root, SUPABASE_BUCKET: bucket } = env;
  const migrate = async (...args: string[]) => {
    const ran = await runCli(['migrate', '--json', ...args], env);
    return { ...ran, report: ran.stdout.startsWith('{') ? JSON.parse(ran.stdout) : null };
  };
  return { root, bucket, env, migrate, old: new PythonStore(root) };
}

test('versioned, flat and archived generations are migrated, then listed, got and downloaded', async () => {
  const { root, bucket, migrate, old } = await workplace();
  const project = uniqueId();
  const flat = uniqueId('flat');
  const inSource = uniqueId('flat');
  const ref = (version: number) => ({ projectId: project, version, generationId: `g-${version}` });
  old.versioned(ref(1), FILES, { 'source/left-behind.py': 'old', 'artifacts/log.txt': 'built' });
  old.versioned(ref(2), { 'main.py': 'print(2)\n' });
  old.activate(ref(2));
  old.archived(ref(3), { 'main.py': 'print(3)\n' });
  // Archived, and there too: once is enough.
  old.archived(ref(2), { 'main.py': 'print(2)\n' });
  old.flat(flat, FILES);
  old.flat(inSource, { 'source/main.py': 'hi' });
  const before = readTexts(join(root, flat));

  const owners = join(await tempFolder(), 'owners.json');
  writeFileSync(owners, JSON.stringify({ [project]: OWNER }));
  const ran = await migrate('--owners', owners, '--verify');
  expect([ran.code, ran.stderr], ran.stdout).toEqual([0, '']);
  expect(ran.report).toEqual({
    found: 5,
    migrated: 5,
    known: 0,
    verified: 5,
    stopped: false,
    failed: 0,
    problems: [],
  });
  // The originals are where they were.
  expect(readTexts(join(root, flat))).toMatchObject(before);

  const storage = await openTestStorage({ storePath: root, cloud: testCloud(bucket) });
  const elsewhere = await openTestStorage({ cloud: testCloud(bucket) });
  expect((await storage.list(project)).items.map(({ version }) => version)).toEqual([3, 2, 1]);
  expect(await storage.activeVersion(project)).toBe(2);
  const expected: [string, number, Record<string, string>][] = [
    [project, 1, FILES],
    [project, 2, { 'main.py': 'print(2)\n' }],
    [project, 3, { 'main.py': 'print(3)\n' }],
    [flat, 1, FILES],
    [inSource, 1, { 'main.py': 'hi' }],
  ];
  for (const [projectId, version, files] of expected) {
    const { manifest } = await storage.get({ projectId, version });
    expect(manifest.entries?.map(({ path }) => path).sort()).toEqual(Object.keys(files).sort());
    const fetched = await elsewhere.get({ projectId, version });
    expect(fetched.from).toBe('cloud');
    expect(readTexts(fetched.sourcePath)).toEqual(files);
    const { url } = (await storage.downloadUrl({ projectId, version }))!;
    expect((await fetch(url)).status).toBe(200);
  }
  const first = await elsewhere.get(ref(1));
  expect(first.manifest).toMatchObject({
    created_at: '2024-05-01T10:00:00',
    metadata: { prompt: 'of g-1' },
    artifacts: [{ path: 'log.txt', size: 5 }],
  });
  expect(readTexts(join(first.path, 'artifacts'))).toEqual({ 'log.txt': 'built' });
  const rows = serviceClient().from('storage_projects').select('owner_id').eq('id', project);
  expect((await rows).data).toEqual([{ owner_id: OWNER }]);
  await storage.close();

  // Again: nothing is left to do, and nothing is sent twice.
  expect((await migrate()).report).toMatchObject({ found: 5, migrated: 0, known: 5, verified: 5 });
});

test('what cannot be migrated is told of, stays readable, and holds up nothing', async () => {
  const { root, migrate, old } = await workplace();
  const project = uniqueId();
  const ref = (version: number, generationId = `g-${version}`) => ({
    projectId: project,
    version,
    generationId,
  });
  old.versioned(ref(1), FILES);
  old.versioned(ref(2, 'a'), { a: 'of a' });
  old.versioned(ref(2, 'b'), { a: 'of b' });
  old.flat('my.project', { 'main.py': 'x' });
  const missing = old.versioned(ref(3), FILES);
  rmSync(join(missing, 'source/main.py'));
  const linked = old.versioned(ref(4), FILES);
  rmSync(join(linked, 'source/main.py'));
  symlinkSync('/etc/passwd', join(linked, 'source/main.py'));
  const outside = old.versioned(ref(5), FILES);
  writeFileSync(
    join(outside, 'manifest.json'),
    JSON.stringify({ ...JSON.parse(await oldText(outside)), files: ['../../../secret'] }),
  );
  old.write(join(root, project, 'generations'), {
    'version-6/manifest.json': '{}',
    'v7__g-7/source/a': 'no manifest',
    'v8__g-8/manifest.json': '{"generation_id":',
  });
  old.write(join(root, project, 'archive'), { 'notes.txt': '', 'v9__g-9.tar.gz': 'no archive' });

  const { code, report, stderr } = await migrate();
  expect([code, stderr]).toEqual([3, '']);
  expect(report).toMatchObject({ found: 12, migrated: 2, verified: 2, failed: 10 });
  const reasons = Object.fromEntries(
    report.problems.map(({ path, reason }: { path: string; reason: string }) => [
      path.slice(root.length + 1).replace(project, 'P'),
      reason,
    ]),
  );
  expect(reasons).toEqual({
    'my.project': expect.stringContaining('no project id'),
    'P/generations/v2__b': expect.stringContaining('also that of generation "a"'),
    'P/generations/v3__g-3': expect.stringContaining('"main.py" is missing'),
    'P/generations/v4__g-4': expect.stringContaining('it is a symbolic link'),
    'P/generations/v5__g-5': expect.stringContaining('../../../secret'),
    'P/generations/version-6': expect.stringContaining('v{version}__'),
    'P/generations/v7__g-7': expect.stringContaining('manifest.json'),
    'P/generations/v8__g-8': expect.stringContaining('not JSON'),
    'P/archive/notes.txt': expect.stringContaining('tar.gz'),
    'P/archive/v9__g-9.tar.gz': expect.stringContaining('tar'),
  });
  const storage = await openTestStorage({ storePath: root });
  for (const [generationId, text] of [
    ['a', 'of a'],
    ['b', 'of b'],
  ] as const) {
    const { sourcePath } = await storage.get(ref(2, generationId));
    expect(readTexts(sourcePath)).toEqual({ a: text });
  }
});

test('a dry run says what would be done, without credentials and without a trace', async () => {
  const { root, env, old } = await workplace();
  const project = uniqueId();
  for (const version of [1, 2]) {
    old.versioned({ projectId: project, version, generationId: `g-${version}` }, FILES);
  }
  old.flat('bad name', { a: 'x' });
  const before = [listTree(root), readTexts(root)];
  const bare = { FILE_STORAGE_PATH: root, CACHE_PATH: env.CACHE_PATH, USE_CLOUD_STORAGE: 'true' };
  const ran = await runCli(['migrate', '--dry-run', '--json'], bare);
  expect(ran.code, ran.stderr).toBe(3);
  expect(JSON.parse(ran.stdout)).toMatchObject({ found: 3, migrated: 2, known: 0, failed: 1 });
  expect([listTree(root), readTexts(root)]).toEqual(before);
  const one = await runCli(['migrate', '--dry-run', '--project-id', project], bare);
  expect(one.code).toBe(0);
  expect(one.stdout).toMatch(/^found +2\nto do +2\nknown +0\nfailed +0\n$/);
});

test('one project alone; and with the cloud off hashes are made, and nothing is uploaded', async () => {
  const { env, migrate, old } = await workplace();
  const [one, two] = [uniqueId(), uniqueId()];
  for (const projectId of [one, two])
    old.versioned({ projectId, version: 1, generationId: 'g' }, FILES);
  expect((await migrate('--project-id', one)).report).toMatchObject({ found: 1, verified: 1 });
  const off = await runCli(['migrate'], { ...env, USE_CLOUD_STORAGE: 'false' });
  expect([off.code, off.stdout]).toEqual([0, expect.stringContaining('the cloud is off')]);
  expect((await migrate()).report).toMatchObject({ found: 2, migrated: 0, known: 2, verified: 2 });
});

test.each([
  ['a file that is not there', 'nowhere.json', null],
  ['no JSON', 'owners.json', 'x'],
  ['a list', 'owners.json', '[]'],
  ['an owner that is no user', 'owners.json', '{"shop":"ada"}'],
  ['a project that is none', 'owners.json', `{"../x":"${OWNER}"}`],
])('--owners with %s is refused before anything is done', async (_, name, text) => {
  const { root, migrate, old } = await workplace();
  old.versioned({ projectId: 'p', version: 1, generationId: 'g' }, FILES);
  const before = listTree(root);
  const file = join(await tempFolder(), name);
  if (text !== null) writeFileSync(file, text);
  const { code, report } = await migrate('--owners', file);
  expect([code, report.code]).toEqual([1, 'invalid_input']);
  expect(listTree(root)).toEqual(before);
});

test('killed in the middle, it goes on where it was', async () => {
  const { root, env, migrate, old } = await workplace();
  const project = uniqueId();
  const COUNT = 40;
  for (let version = 1; version <= COUNT; version++) {
    old.versioned({ projectId: project, version, generationId: `g-${version}` }, FILES);
  }
  const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'migrate'], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  const isBegun = () =>
    listTree(join(root, project)).filter((name) => name.endsWith('archive.tar.gz')).length > 6;
  while (!isBegun()) await sleep(5);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const { code, report } = await migrate();
  expect([code, report.verified], JSON.stringify(report)).toEqual([0, COUNT]);
  expect(report.known).toBeGreaterThan(0);
  const rows = serviceClient()
    .from('storage_generations')
    .select('*', { count: 'exact', head: true });
  expect((await rows.eq('project_id', project).eq('status', 'verified')).count).toBe(COUNT);
});

async function oldText(folder: string): Promise<string> {
  return readTexts(folder)['manifest.json']!;
}

test('archives that are in the bucket without a row get one: their owner sees and opens them', async () => {
  const { bucket, env, migrate } = await workplace();
  const owner = await makeUser();
  const project = uniqueId();
  const service = serviceClient().storage;
  await service.createBucket(bucket, { public: false });
  const put = async (key: string, content: string | Buffer) =>
    expect((await service.from(bucket).upload(key, content)).error).toBeNull();
  const archive = (version: number) =>
    makeTarGz([
      { name: `v${version}__g-${version}/manifest.json`, content: '{}' },
      { name: `v${version}__g-${version}/source/main.py`, content: `print(${version})\n` },
    ]);
  await put(`${project}/generations/v1__g-1.tar.gz`, archive(1));
  await put(`${project}/generations/v2__g-2.tar.gz`, archive(2));
  await put(`${project}/generations/notes.txt`, 'no archive');
  const owners = join(await tempFolder(), 'owners.json');
  writeFileSync(owners, JSON.stringify({ [project]: owner.id }));

  const ran = await migrate('--from-bucket', '--owners', owners);
  expect([ran.code, ran.stderr]).toEqual([3, '']);
  expect(ran.report).toMatchObject({ found: 3, migrated: 2, known: 0, verified: 2, failed: 1 });
  expect(ran.report.problems).toMatchObject([{ path: `${project}/generations/notes.txt` }]);
  expect((await migrate('--from-bucket')).report).toMatchObject({ migrated: 0, known: 2 });

  const as = asUser(callInProcess(), owner);
  const { items } = await (await as('GET', `/projects/${project}`)).json();
  expect(items).toMatchObject([{ version: 2, status: 'verified' }, { version: 1 }]);
  const file = await as('GET', `/projects/${project}/2/files/main.py`);
  expect([file.status, await file.text()]).toEqual([200, 'print(2)\n']);
  const dry = await runCli(['migrate', '--from-bucket', '--dry-run'], env);
  expect([dry.code, dry.stderr]).toEqual([1, expect.stringContaining('leave --dry-run out')]);
});
