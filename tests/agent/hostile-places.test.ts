/** Places that are not what they seem: paths that are too long, stores that go away, other layers. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { builtProgram, ROOT, runCli } from '../support/run.ts';
import { openTestStorage, settled } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

test.each([507, 600, 3000])(
  'a store whose path has %i bytes is named, with the limit',
  async (length) => {
    const folder = await tempFolder();
    let path = folder;
    while (path.length < length)
      path += `/${'x'.repeat(Math.min(100, Math.max(1, length - path.length - 1)))}`;
    const save = ['save', `${ROOT}/docs/examples`, '--project', 'p'];
    const ran = await runCli(save, { FILE_STORAGE_PATH: path.slice(0, length) }, folder);
    expect([ran.code, ran.stderr]).toEqual([1, expect.stringMatching(/at most \d+ can be used/)]);
  },
);

test.each(['removed', 'moved', 'removed and made anew'])(
  'a store that was %s while the daemon runs is named, and nothing is said to be saved',
  async (how) => {
    const storePath = join(await tempFolder(), 'store');
    const { daemon } = await startDaemon({ FILE_STORAGE_PATH: storePath });
    const save = (headers: Record<string, string>, body: string, query = '') =>
      fetch(`${daemon.url}/v1/generations${query}`, { method: 'POST', headers, body });
    const json = { 'content-type': 'application/json' };
    const body = JSON.stringify({ project_id: 'p', files: { a: 'x' } });
    expect((await save(json, body)).status).toBe(201);
    if (how === 'moved') renameSync(storePath, `${storePath}-moved`);
    // What goes meanwhile ends a removal of Node's, without an error.
    else while (existsSync(storePath)) rmSync(storePath, { recursive: true, maxRetries: 20 });
    if (how === 'removed and made anew') {
      const other = await openTestStorage({ storePath });
      await other.save({ projectId: 'other', files: { a: 'x' } });
    }
    const form = `--b\r\nContent-Disposition: form-data; name="project_id"\r\n\r\np\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n--b--\r\n`;
    for (const answer of [
      await save(json, body),
      await save({ 'content-type': 'multipart/form-data; boundary=b' }, form),
      await save({ 'content-type': 'application/x-tar' }, '\0'.repeat(1024), '?project_id=p'),
    ]) {
      expect([answer.status, await answer.text()]).toEqual([
        503,
        expect.stringContaining(storePath),
      ]);
    }
  },
);

test('get --to does not go through a link', async () => {
  const env = { FILE_STORAGE_PATH: await tempFolder() };
  const storage = await openTestStorage({ storePath: env.FILE_STORAGE_PATH });
  await storage.save({ projectId: 'p', files: { a: 'x' } });
  await storage.close();
  const folder = await tempFolder();
  mkdirSync(join(folder, 'real'));
  for (const target of ['real', 'nowhere']) {
    const link = join(folder, `to-${target}`);
    symlinkSync(target, link);
    const ran = await runCli(['get', 'p', '1', '--to', link], env);
    expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('symbolic link')]);
  }
  expect(readTexts(join(folder, 'real'))).toEqual({});
});

test('get --to keeps the modes of folders that were there, and makes others for all to read', async () => {
  const env = { FILE_STORAGE_PATH: await tempFolder() };
  const storage = await openTestStorage({ storePath: env.FILE_STORAGE_PATH });
  await storage.save({ projectId: 'p', files: { 'd/a': 'x' } });
  await storage.close();
  const folder = await tempFolder();
  mkdirSync(join(folder, 'closed'), { mode: 0o700 });
  for (const to of ['closed', 'x/y/z']) {
    expect((await runCli(['get', 'p', '1', '--to', join(folder, to)], env)).code).toBe(0);
  }
  const modeOf = (path: string) => statSync(join(folder, path)).mode & 0o777;
  expect(['closed', 'x', 'x/y', 'x/y/z', 'x/y/z/d'].map(modeOf)).toEqual([
    ...[0o700, 0o755, 0o755, 0o755, 0o755],
  ]);
});

describe('a client that goes away', () => {
  /** Asks for something, and is gone before the answer is. */
  async function askAndGo(url: string, path: string, body = ''): Promise<void> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    const method = body === '' ? 'GET' : 'POST';
    const length =
      body === '' ? '' : 'Content-Type: application/json\r\nContent-Length: 100000\r\n';
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${length}\r\n${body}`);
    await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
  }

  test('leaves the daemon alive, and is no fault of ours in its log', async () => {
    const { daemon } = await startDaemon();
    const saved = await fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ project_id: 'p', files: { a: randomBytes(100_000).toString('hex') } }),
    });
    expect(saved.status).toBe(201);
    for (let i = 0; i < 40; i++) {
      for (const path of ['archive.zip', 'archive.tar.gz', 'files/a', 'files']) {
        await askAndGo(daemon.url, `/v1/projects/p/1/${path}`);
      }
      await askAndGo(daemon.url, '/v1/generations', '{"project_id":"p","files":{');
    }
    expect((await fetch(`${daemon.url}/v1/status`)).status).toBe(200);
    expect(daemon.child.exitCode).toBe(null);
    expect(daemon.output().stderr).not.toContain('"status":500');
  });
});

test('an archive that is nowhere is not looked for in a circle', async () => {
  const { daemon } = await startDaemon();
  const answer = await fetch(`${daemon.url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ project_id: 'p', files: { a: 'x' } }),
  });
  const { path } = (await answer.json()) as { path: string };
  await fetch(`${daemon.url}/v1/projects/p/1/archive.tar.gz`);
  rmSync(join(path, 'archive.tar.gz'));
  const asked = await fetch(`${daemon.url}/v1/projects/p/1/archive.tar.gz`, { redirect: 'manual' });
  expect([asked.status, await asked.text()]).toEqual([422, expect.stringContaining('corrupt')]);
});

describe('verify', () => {
  test('names a generation whose files of ours were emptied, and goes on', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const large = 'x'.repeat(100);
    const files = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`f${i}`, large + i]));
    for (const projectId of ['a', 'b', 'c', 'd'])
      await settled(storage, storage.save({ projectId, files }));
    const path = (project: string) => storage.get({ projectId: project, version: 1 });
    writeFileSync(join((await path('a')).path, 'archive.json'), '');
    writeFileSync(join((await path('b')).path, 'archive.json'), '{"bytes": 1}');
    writeFileSync(join((await path('c')).path, 'manifest.json'), '');
    const found: [string, number][] = [];
    for await (const { projectId, problems } of storage.verify())
      found.push([projectId, problems.length]);
    expect(found).toEqual([
      ['a', 1],
      ['b', 1],
      ['c', 1],
      ['d', 0],
    ]);
  });

  test('ends within a second of SIGTERM, in the middle of a generation, and says how to go on', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    await storage.save({ projectId: 'a', files: { a: 'x' } });
    const large = await storage.save({ projectId: 'b', files: { a: 'x' }, tree: 'now' });
    await storage.close();
    // Much to read, in a file that the manifest names.
    execFileSync('truncate', ['-s', '200G', join(large.path, 'source/a')]);
    const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'verify', '--json'], {
      env: { ...process.env, FILE_STORAGE_PATH: storePath, CACHE_PATH: await tempFolder() },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let said = '';
    child.stderr.on('data', (piece) => {
      said += piece;
    });
    // It reads the large one once a thread does nothing else.
    const busy = () =>
      execFileSync('ps', ['-o', 'time=', '-p', String(child.pid)])
        .toString()
        .trim();
    await expect.poll(busy, { timeout: 30_000 }).not.toMatch(/^00:00:0[01]$/);
    const asked = performance.now();
    child.kill('SIGTERM');
    const [code] = await once(child, 'close');
    expect(performance.now() - asked).toBeLessThan(1000);
    expect([code, said]).toEqual([
      130,
      expect.stringContaining('codebegen-storage verify --after a/1'),
    ]);
  });
});

describe.skipIf(process.getuid?.() !== 0 || process.platform !== 'linux')(
  'a store in a lower layer of an overlay',
  () => {
    /** A store that was made, and then lies below: nothing in it can be renamed. */
    async function overlay() {
      const folder = await tempFolder();
      for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(folder, name));
      const storage = await openTestStorage({ storePath: join(folder, 'lower') });
      for (const version of [1, 2, 3]) {
        await storage.save({ projectId: 'p', version, files: { 'd/a': `${version}`, b: 'b' } });
      }
      await writeFiles(join(folder, 'lower/flat/dir'), { 'main.py': 'x' });
      await storage.close();
      const layers = ['lower', 'upper', 'work'].map((name) => `${name}dir=${join(folder, name)}`);
      const merged = join(folder, 'merged');
      execFileSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `${layers.join()},redirect_dir=off`,
        merged,
      ]);
      onTestFinished(() => void execFileSync('umount', ['-l', merged]));
      return merged;
    }

    test('deletes, replaces, and serves as any other', async () => {
      const storePath = await overlay();
      const storage = await openTestStorage({ storePath });
      await storage.delete({ projectId: 'p', version: 1 });
      await storage.delete({ projectId: 'flat', version: 1 });
      await storage.save({
        projectId: 'p',
        version: 2,
        files: { a: 'new' },
        replace: true,
        generationId: (await storage.show({ projectId: 'p', version: 2 })).generationId,
      });
      expect((await storage.list('p')).items.map(({ version }) => version)).toEqual([3, 2]);
      expect((await storage.list('flat')).items).toEqual([]);
      const texts = async (version: number) =>
        readTexts((await storage.get({ projectId: 'p', version })).sourcePath);
      expect([await texts(2), await texts(3)]).toEqual([{ a: 'new' }, { 'd/a': '3', b: 'b' }]);
      await storage.close();
      const again = await openTestStorage({ storePath });
      expect((await again.list('p')).items.map(({ version }) => version)).toEqual([3, 2]);
      expect(readTexts((await again.get({ projectId: 'p', version: 2 })).sourcePath)).toEqual({
        a: 'new',
      });
      const problems = [];
      for await (const verified of again.verify()) problems.push(...verified.problems);
      expect(problems).toEqual([]);
    });
  },
);

test.each<[string, string | null]>([
  ['items=0-1', null],
  ['bytes=a-b', null],
  ['bytes=', null],
  ['bytes=-', null],
  ['bytes=5-2', null],
  ['bytes=0-1,3-4', null],
  ['bytes=0-1', '0-1'],
  ['bytes=2-', '2-'],
  ['bytes=-3', '-3'],
  ['bytes=0-99999999', '0-'],
])('Range: %s', async (range, part) => {
  const { daemon } = await startDaemon();
  await fetch(`${daemon.url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ project_id: 'p', files: { a: 'x' } }),
  });
  const url = `${daemon.url}/v1/projects/p/1/archive.tar.gz`;
  const whole = Buffer.from(await (await fetch(url)).arrayBuffer());
  const answer = await fetch(url, { headers: { range } });
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (part === null) {
    expect([answer.status, answer.headers.get('content-range')]).toEqual([200, null]);
    expect(bytes.equals(whole)).toBe(true);
    return;
  }
  const [first = '', last = ''] = part.split('-');
  const expected =
    first === ''
      ? whole.subarray(-Number(last))
      : whole.subarray(Number(first), last === '' ? undefined : Number(last) + 1);
  expect(answer.status).toBe(206);
  expect(bytes.equals(expected)).toBe(true);
  expect(answer.headers.get('content-range')).toMatch(
    new RegExp(`^bytes \\d+-\\d+/${whole.length}$`),
  );
  const beyond = await fetch(url, { headers: { range: `bytes=${whole.length}-` } });
  expect(beyond.status).toBe(416);
});
