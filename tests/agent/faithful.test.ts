/** What was handed over is what is kept and handed out: else it is refused, or told of. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { migrate } from '../../node-agent/migrate/migrate.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { hostEnvironment } from '../support/host.ts';
import { PythonStore } from '../support/python-store.ts';
import { run, runCli } from '../support/run.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

const LATIN_1 = Buffer.from('caf\u00e9', 'latin1');

describe('what is no whole Unicode is refused, not stored as something else', () => {
  test('in a text, half of a surrogate pair', async () => {
    const storage = await openTestStorage();
    for (const file of ['\ud800', { content: 'a\udc00' }]) {
      const saving = storage.save({ projectId: 'p', files: { 'a.txt': file } });
      await expect(saving).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining('"a.txt"'),
      });
    }
  });

  test('in a JSON body, bytes that are not UTF-8; in a tar, such a name', async () => {
    const { daemon } = await startDaemon();
    const url = `${daemon.url}/v1/generations`;
    const body = Buffer.concat([
      Buffer.from('{"project_id":"p","files":{"a.txt":"'),
      LATIN_1,
      Buffer.from('"}}'),
    ]);
    const json = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    expect([json.status, (await json.json()).detail]).toEqual([
      400,
      expect.stringContaining('UTF-8'),
    ]);
    const folder = await tempFolder();
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), LATIN_1]), 'x');
    const { stdout } = await run('sh', ['-c', `tar c -C '${folder}' . | base64 -w0`]);
    const tar = await fetch(`${url}?project_id=p`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-tar' },
      body: Buffer.from(stdout, 'base64'),
    });
    expect([tar.status, (await tar.json()).detail]).toEqual([
      400,
      expect.stringContaining('not UTF-8'),
    ]);
  });
});

test('the store is no part of a generation, also where it is the folder that is saved', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  await storage.save({ projectId: 'p', files: { a: 'a' } });
  for (const folder of [storePath, join(storePath, 'p')]) {
    await expect(storage.saveFolder({ projectId: 'q', folder })).rejects.toMatchObject({
      code: 'invalid_input',
    });
  }
});

test('an archive that was damaged on this host is packed again, and arrives', async () => {
  const bucket = uniqueId('bucket');
  const storePath = await tempFolder();
  const off = await openTestStorage({ storePath });
  const receipt = await settled(
    off,
    off.save({ projectId: uniqueId(), files: { a: 'a'.repeat(5000) } }),
  );
  await off.get(receipt);
  await off.close();
  const archive = join(receipt.path, 'archive.tar.gz');
  const bytes = readFileSync(archive);
  bytes[100]! ^= 1;
  writeFileSync(archive, bytes);
  let ahead = 0;
  const storage = await openTestStorage({
    storePath,
    cloud: testCloud(bucket),
    now: () => Date.now() + ahead,
    onProblem: () => {
      ahead += 600_000;
    },
  });
  await waitForStatus(storage, receipt, 'verified');
  const other = await openTestStorage({ cloud: testCloud(bucket) });
  expect(readTexts((await other.get(receipt)).sourcePath)).toEqual({ a: 'a'.repeat(5000) });
});

test('nothing is put into a public bucket', async () => {
  const bucket = uniqueId('bucket');
  const service = serviceClient().storage;
  expect((await service.createBucket(bucket, { public: true })).error).toBeNull();
  const storage = await openTestStorage({ cloud: testCloud(bucket) });
  const receipt = await settled(
    storage,
    storage.save({ projectId: uniqueId(), files: { a: 'a' } }),
  );
  await expect(waitForStatus(storage, receipt, 'verified')).rejects.toThrow('it is public');
  expect((await service.from(bucket).list()).data).toEqual([]);
  await service.updateBucket(bucket, { public: false });
  expect(await storage.retryParked()).toBe(1);
  await waitForStatus(storage, receipt, 'verified');
});

type Facts = { block_index: { blocks: number[]; entries: number[] } };

const moved = ({ blocks, entries, ...rest }: Facts['block_index']) => ({
  ...rest,
  blocks: blocks.map((offset) => offset + 1),
  entries: entries.map((begin) => begin + 1),
});

describe('one byte that is another', () => {
  const FILES = { a: 'sound', b: randomBytes(1_000_000).toString('hex') };

  /** Of the middle of a file. */
  function flip(path: string): void {
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
  }

  const inTree = (path: string) => flip(join(path, 'source/a'));
  const inArchive = (path: string) => flip(join(path, 'archive.tar.gz'));
  const inFacts = (change: (facts: Facts) => unknown) => (path: string) => {
    const facts = JSON.parse(readFileSync(join(path, 'archive.json'), 'utf8'));
    writeFileSync(join(path, 'archive.json'), JSON.stringify(change(facts)));
  };

  test.each<[string, ((path: string) => void)[]]>([
    ['the tree', [inTree]],
    ['the manifest of the tree', [(path) => flip(join(path, 'manifest.json'))]],
    ['the archive', [inArchive]],
    ['what is written down of the archive, emptied', [inFacts(() => '')]],
    ['what is written down of the archive, being nothing', [inFacts(() => ({}))]],
    [
      'where the blocks of the archive are',
      [inFacts((facts) => ({ ...facts, block_index: moved(facts.block_index) }))],
    ],
    ['a tree of which a file is gone', [(path) => rmSync(join(path, 'source/a'))]],
  ])('in %s: what was saved is handed out all the same', async (_, damage) => {
    const { daemon, storePath } = await startDaemon();
    const path = await saveHere(daemon.url);
    for (const one of damage) one(path);
    const shown = `${daemon.url}/v1/projects/p/1`;
    for (const [file, content] of Object.entries(FILES)) {
      expect(await (await fetch(`${shown}/files/${file}`)).text()).toBe(content);
    }
    const zip = join(await tempFolder(), 'zip');
    writeFileSync(zip, Buffer.from(await (await fetch(`${shown}/archive.zip`)).arrayBuffer()));
    expect((await run('python3', ['-m', 'zipfile', '-t', zip])).code).toBe(0);
    const to = join(await tempFolder(), 'out');
    const ran = await runCli(['get', 'p', '1', '--to', to], { FILE_STORAGE_PATH: storePath });
    expect([ran.code, ran.stderr]).toEqual([0, '']);
    expect(readTexts(to)).toEqual(FILES);
  });

  test('in tree and archive is told, and nothing else is handed out', async () => {
    const { daemon, storePath } = await startDaemon();
    const path = await saveHere(daemon.url);
    for (const harm of [inTree, inArchive]) harm(path);
    const shown = `${daemon.url}/v1/projects/p/1`;
    const file = await fetch(`${shown}/files/a`);
    const answer = await file.text();
    // The block that it lies in may be a sound one.
    if (file.status === 200) expect(answer).toBe(FILES.a);
    else expect([file.status, answer]).toEqual([422, expect.stringContaining('"corrupt"')]);
    // It streams: that it is no whole zip is all that can be said by then.
    await expect(fetch(`${shown}/archive.zip`).then((zip) => zip.text())).rejects.toThrow();
    const to = join(await tempFolder(), 'out');
    const ran = await runCli(['get', 'p', '1', '--to', to], { FILE_STORAGE_PATH: storePath });
    expect([ran.code, ran.stderr]).toEqual([1, expect.stringMatching(/not what it was|was saved/)]);
    expect(readdirSync(to)).toEqual([]);
  });

  async function saveHere(url: string): Promise<string> {
    const saved = await fetch(`${url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ project_id: 'p', tree: 'now', files: FILES }),
    });
    const { path } = await saved.json();
    await expect.poll(() => existsSync(join(path, 'archive.tar.gz'))).toBe(true);
    await expect.poll(() => readdirSync(path).some((name) => name.endsWith('.tar'))).toBe(false);
    return path;
  }
});

test('migrate of a project that is not there says so', async () => {
  const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
  const ran = await runCli(['migrate', '--project-id', 'nosuch'], env);
  expect([ran.code, ran.stderr]).toEqual([4, expect.stringContaining('"nosuch"')]);
});

test('a URL works while the cloud is away, and after the original was evicted', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const env = await hostEnvironment({ SUPABASE_URL: proxy.url });
  const { daemon, storePath } = await startDaemon(env);
  const body = JSON.stringify({ project_id: uniqueId(), files: { a: 'a' } });
  const headers = { 'content-type': 'application/json' };
  const saved = await fetch(`${daemon.url}/v1/generations`, { method: 'POST', headers, body });
  const { project_id, generation_id, download_url } = await saved.json();
  const shown = `${daemon.url}/v1/projects/${project_id}/1`;
  for (;;) {
    const { status } = await (await fetch(shown)).json();
    if (status === 'verified') break;
  }
  proxy.rule = () => ({ kind: 'answer', status: 503 });
  const { url } = await (await fetch(`${shown}/download`)).json();
  expect([url.startsWith(daemon.url), (await fetch(url)).status]).toEqual([true, 200]);
  proxy.rule = () => null;

  // As `cleanup --store` leaves it.
  rmSync(join(storePath, project_id, 'generations', `v1__${generation_id}`), { recursive: true });
  for (const asked of [download_url, `${shown}/archive.tar.gz`]) {
    const answer = await fetch(asked);
    expect([answer.status, answer.redirected]).toEqual([200, true]);
  }
  const gone = await runCli(['get', project_id, '1'], { ...env, USE_CLOUD_STORAGE: 'false' });
  expect([gone.code, gone.stderr]).toEqual([5, expect.stringContaining('in the cloud alone')]);
});

describe('what the Python system left is kept whole, or told of', () => {
  test.each<[string, Record<string, string>, string | null]>([
    ['files beside source/', { 'README.md': 'r', 'source/conf.py': 'c' }, null],
    ['a link', { 'app.py': 'a' }, 'alias.py'],
    ['a file in generations/', { 'app.py': 'a', 'generations/data.csv': 'd' }, 'data.csv'],
  ])('a flat project with %s', async (what, files, told) => {
    const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
    const root = env.FILE_STORAGE_PATH;
    new PythonStore(root).flat('flat', files);
    if (what === 'a link') symlinkSync('app.py', join(root, 'flat/alias.py'));
    const ran = await runCli(['migrate', '--json'], env);
    const { problems } = JSON.parse(ran.stdout);
    if (told !== null) {
      expect([ran.code, JSON.stringify(problems)]).toEqual([3, expect.stringContaining(told)]);
      return;
    }
    expect([ran.code, problems]).toEqual([0, []]);
    const storage = await openTestStorage({ storePath: root });
    const { sourcePath } = await storage.get({ projectId: 'flat', version: 1 });
    expect(readTexts(sourcePath)).toEqual(files);
    // Deleted, nothing of it stays.
    await storage.delete({ projectId: 'flat', version: 1 });
    for (const name of Object.keys(files)) expect(existsSync(join(root, 'flat', name))).toBe(false);
  });

  test('a folder that is a link is told of, not passed over', async () => {
    const env = await hostEnvironment({ USE_CLOUD_STORAGE: 'false' });
    const elsewhere = await tempFolder();
    await writeFiles(elsewhere, { 'app.py': 'a' });
    symlinkSync(elsewhere, join(env.FILE_STORAGE_PATH, 'linked'));
    const ran = await runCli(['migrate', '--json'], env);
    expect([ran.code, ran.stdout]).toEqual([3, expect.stringContaining('symbolic link')]);
  });

  test('migrate does not wait for ever for a cloud that is away', async () => {
    const storePath = await tempFolder();
    const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
    new PythonStore(storePath).versioned(ref, { 'main.py': 'x' });
    const cloud = { ...testCloud(uniqueId('bucket')), url: 'http://127.0.0.1:9' };
    const storage = await openTestStorage({ storePath, cloud });
    const options = { storePath, only: null, owners: new Map(), verify: false, patienceMs: 1 };
    expect(await migrate(storage, options)).toMatchObject({ migrated: 1, verified: 0, failed: 1 });
  });
});
