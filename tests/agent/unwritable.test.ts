/** Stores that cannot be written: full disks, file systems that are read-only, those of other users. */
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { chown, copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { StorageError } from '../../node-agent/contract.ts';
import { openStorageOn } from '../../node-agent/storage/open.ts';
import { Workers } from '../../node-agent/store/workers.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import {
  canMount,
  fill,
  fillInodes,
  makeReadOnly,
  mountFileSystem,
  mountWithin,
} from '../support/mount.ts';
import { builtProgram, ROOT, run, runCli } from '../support/run.ts';
import { openTestStorage, testCache, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const SHOP = { projectId: 'shop', generationId: 'gen' };
const FILES = { 'app.py': 'print(1)\n', 'lib/a.py': 'a' };
const CANNOT_WRITE = 'Nothing is written to the store; what is there is read';

/** A store with two versions on a file system of its own; of the second there is a tree. */
async function makeStore(options: { inodes?: number } = {}) {
  const at = mountFileSystem('20m', options);
  const storePath = join(at, 'store');
  const cachePath = join(at, 'cache');
  const long = Date.now() - 3_600_000;
  const storage = await openTestStorage({
    storePath,
    cache: await testCache({ path: cachePath }),
    now: () => long,
  });
  for (const n of [1, 2]) {
    await storage.save({ ...SHOP, generationId: `gen-${n}`, version: n, files: FILES });
  }
  await storage.get({ projectId: 'shop', version: 2 });
  await storage.close();
  const env = { FILE_STORAGE_PATH: storePath, CACHE_PATH: cachePath, USE_CLOUD_STORAGE: 'false' };
  return { at, storePath, env, cli: (...args: string[]) => runCli(args, env) };
}

const reserveIn = (storePath: string) => join(storePath, '.codebegen-storage', 'reserve');

describe.skipIf(!canMount)('on a file system of its own', () => {
  test('a full disk: the room that was kept lets everything be done that makes room', async () => {
    const { at, storePath, cli } = await makeStore();
    expect(statSync(join(reserveIn(storePath), '0')).size).toBe(1024 ** 2);
    await fill(at);
    for (const command of [['status'], ['list', 'shop'], ['uploads'], ['verify'], ['cleanup']]) {
      expect(await cli(...command), command.join(' ')).toMatchObject({ code: 0, stderr: '' });
    }
    expect((await cli('cleanup', '--trees')).stdout).toContain('1 trees evicted');
    expect(await cli('delete', 'shop', '1')).toMatchObject({ code: 0 });
    expect((await cli('list', 'shop', '--json')).stdout).not.toContain('"version":1');
  });

  test('a full disk without any room that was kept: what is there is read, trees go, the rest says disk_full', async () => {
    const { at, storePath, cli } = await makeStore();
    rmSync(reserveIn(storePath), { recursive: true });
    await fill(at);
    const told = { code: 0, stderr: expect.stringContaining(CANNOT_WRITE) };
    for (const command of [['list', 'shop'], ['show', 'shop', '1'], ['verify']]) {
      expect(await cli(...command), command.join(' ')).toMatchObject(told);
    }
    // What the catalog alone knows is known.
    expect((await cli('uploads')).stdout).toContain('reserve');
    for (const args of [
      ['save', `${ROOT}/docs/examples`, '--project', 'shop'],
      ['delete', 'shop', '1'],
      ['activate', 'shop', '1'],
    ]) {
      const { code, stdout } = await cli(...args, '--json');
      expect([code, JSON.parse(stdout)], args[0]).toEqual([
        1,
        expect.objectContaining({ code: 'disk_full', status: 507 }),
      ]);
    }
    const refused = await cli('activate', 'shop', '1');
    expect(refused.stderr).toContain('Make room: codebegen-storage cleanup --trees');
    expect((await cli('cleanup', '--trees')).stdout).toContain('1 trees evicted');
    expect(await readdir(join(storePath, 'shop', 'generations', 'v2__gen-2'))).toEqual([
      'archive.json',
      'archive.tar.gz',
    ]);
  });

  test('a daemon starts on a full disk, serves what is there, and saves as soon as there is room', async () => {
    const { at, storePath, env } = await makeStore();
    rmSync(reserveIn(storePath), { recursive: true });
    const makeRoom = await fill(at);
    const { daemon } = await startDaemon({ ...env, AGENT_PORT: '18787' });
    const save = () =>
      fetch(`${daemon.url}/v1/generations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ project_id: 'shop', files: FILES }),
      });
    const file = await fetch(`${daemon.url}/v1/projects/shop/1/files/app.py`);
    expect(await file.text()).toBe(FILES['app.py']);
    const refused = await save();
    expect([refused.status, await refused.json()]).toEqual([
      507,
      expect.objectContaining({ code: 'disk_full' }),
    ]);
    const ready = await fetch(`${daemon.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([
      503,
      expect.objectContaining({ detail: 'Cannot save now: the disk is full' }),
    ]);
    const deleted = await fetch(`${daemon.url}/v1/projects/shop/1`, { method: 'DELETE' });
    expect(deleted.status).toBe(507);
    makeRoom();
    await expect
      .poll(async () => (await save().catch(() => null))?.status, { timeout: 30_000 })
      .toBe(201);
    expect((await fetch(`${daemon.url}/readyz`)).status).toBe(200);
  });

  test('what ran when the disk became full notes what makes room, and saves nothing into that', async () => {
    const { at, env } = await makeStore();
    const { daemon } = await startDaemon(env);
    await fill(at);
    const remove = await fetch(`${daemon.url}/v1/projects/shop/1`, { method: 'DELETE' });
    expect([remove.status, (await remove.json()).deleted]).toEqual([200, true]);
    const save = await fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ project_id: 'new', files: { a: 'x'.repeat(3_000_000) } }),
    });
    expect(save.status).toBe(507);
  });

  test('without inodes: the files that were kept let everything be done that makes room', async () => {
    const { at, storePath, cli } = await makeStore({ inodes: 400 });
    expect(readdirSync(reserveIn(storePath))).toHaveLength(20);
    const { disk } = JSON.parse((await cli('status', '--json')).stdout);
    expect(disk.bytes).toBe(20 * 1024 * 1024);
    // But for what the command itself had open.
    const { bavail, bsize, ffree } = statfsSync(at);
    expect(Math.abs(disk.free_bytes - bavail * bsize)).toBeLessThan(1_000_000);
    expect(Math.abs(disk.free_inodes - ffree)).toBeLessThan(10);
    await fillInodes(at, 0);
    expect(await cli('delete', 'shop', '1')).toMatchObject({ code: 0, stderr: '' });
    expect((await cli('list', 'shop', '--json')).stdout).not.toContain('"version":1');
  });

  test.each([1, 5, 8])(
    'a daemon that starts with %i inodes left stays, says why it is not ready, and saves once there are more',
    async (left) => {
      const { at, storePath, env } = await makeStore({ inodes: 400 });
      rmSync(reserveIn(storePath), { recursive: true });
      rmSync(join(storePath, '.codebegen-storage/url-key'), { force: true });
      const giveBack = await fillInodes(at, left);
      // Its URL is written elsewhere than to the full disk.
      const { daemon } = await startDaemon({ ...env, AGENT_PORT: '18788' });
      const file = await fetch(`${daemon.url}/v1/projects/shop/1/files/app.py`);
      expect(await file.text()).toBe(FILES['app.py']);
      const before = await fetch(`${daemon.url}/readyz`);
      const { detail } = await before.json();
      if (before.status !== 200) expect(detail).toMatch(/the disk is full|no inodes left/);
      giveBack();
      await expect
        .poll(async () => (await fetch(`${daemon.url}/readyz`).catch(() => null))?.status, {
          timeout: 30_000,
        })
        .toBe(200);
      // It came up anew once, if at all.
      expect(daemon.output().stdout.match(/Listening/g)?.length ?? 0).toBeLessThanOrEqual(2);
      expect(daemon.output().stderr).not.toContain('EXDEV');
    },
  );

  test('what nobody could pack is read whole by every door of a daemon that can write nothing', async () => {
    const at = mountFileSystem('40m');
    const storePath = join(at, 'store');
    const storage = await openTestStorage({ storePath, background: false });
    const large = randomBytes(5_000_000);
    const files = { 'blob.bin': large, 'empty.txt': '', 'small.txt': 'small' };
    await storage.save({ projectId: 'shop', version: 1, files });
    await storage.close();
    makeReadOnly(at);
    const cache = await tempFolder();
    const env = { FILE_STORAGE_PATH: storePath, CACHE_PATH: cache, USE_CLOUD_STORAGE: 'false' };
    const { daemon } = await startDaemon(env);
    const one = `${daemon.url}/v1/projects/shop/1`;
    const file = await fetch(`${one}/files/blob.bin`);
    expect(Buffer.from(await file.arrayBuffer()).equals(large)).toBe(true);
    const part = await fetch(`${one}/files/blob.bin`, { headers: { range: 'bytes=4999990-' } });
    expect(Buffer.from(await part.arrayBuffer()).equals(large.subarray(-10))).toBe(true);
    const zip = await fetch(`${one}/archive.zip`);
    const zipped = join(await tempFolder(), 'shop.zip');
    writeFileSync(zipped, Buffer.from(await zip.arrayBuffer()));
    const hash = await run('python3', [
      '-c',
      'import sys,zipfile,hashlib; print(hashlib.sha256(zipfile.ZipFile(sys.argv[1]).read("blob.bin")).hexdigest())',
      zipped,
    ]);
    expect(hash.stdout.trim()).toBe(createHash('sha256').update(large).digest('hex'));
    const archive = await fetch(`${one}/archive.tar.gz`);
    expect([archive.status, await archive.json()]).toEqual([
      503,
      expect.objectContaining({
        code: 'unavailable',
        detail: expect.stringContaining('nothing can be written'),
      }),
    ]);
    expect((await fetch(`${daemon.url}/healthz`)).status).toBe(200);
  });

  test('doctor says of a full disk and of a read-only one what they are, and nothing of rights', async () => {
    const { at, storePath, cli } = await makeStore();
    rmSync(reserveIn(storePath), { recursive: true });
    const makeRoom = await fill(at);
    const failed = async () => {
      const { checks } = JSON.parse((await cli('doctor', '--json')).stdout);
      return JSON.stringify(checks.filter(({ status }: { status: string }) => status === 'fail'));
    };
    const full = await failed();
    expect(full).toContain('the disk is full');
    expect(full).toContain('Make room');
    expect(full).not.toMatch(/chown|fault of this program|the disk fails|Let this user/);
    makeRoom();
    makeReadOnly(at);
    const readOnly = await failed();
    expect(readOnly).toContain('read-only');
    expect(readOnly).toContain('Mount it to be written');
    expect(readOnly).not.toMatch(/chown|fault of this program|Let this user/);
  });

  test('a read-only mount: what is there is read, and what is not says read_only', async () => {
    const { at, cli } = await makeStore();
    makeReadOnly(at);
    for (const command of [['list', 'shop'], ['get', 'shop', '2'], ['verify'], ['status']]) {
      expect(await cli(...command), command.join(' ')).toMatchObject({ code: 0 });
    }
    const { code, stdout } = await cli('delete', 'shop', '1', '--json');
    expect([code, JSON.parse(stdout)]).toEqual([
      1,
      expect.objectContaining({ code: 'read_only', detail: expect.stringContaining('EROFS') }),
    ]);
  });

  test('doctor finds a mount between a project and what is staged', async () => {
    const { storePath, cli } = await makeStore();
    rmSync(join(storePath, '.codebegen-storage'), { recursive: true });
    mountWithin(join(storePath, '.codebegen-storage'));
    const { code, stdout } = await cli('doctor', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout).checks).toContainEqual(
      expect.objectContaining({
        name: 'file system',
        status: 'fail',
        why: expect.stringContaining('EXDEV'),
      }),
    );
  });
});

/** A user without rights. */
const NOBODY = 65_534;

describe.skipIf(process.getuid?.() !== 0)('of another user', () => {
  async function makeOwned() {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    await storage.save({ ...SHOP, version: 1, files: FILES });
    await storage.close();
    const cachePath = await tempFolder();
    const all = readdirSync(storePath, { recursive: true, encoding: 'utf8' });
    for (const path of ['', ...all]) await chown(join(storePath, path), NOBODY, NOBODY);
    chownSync(cachePath, NOBODY, NOBODY);
    const env = { FILE_STORAGE_PATH: storePath, CACHE_PATH: cachePath, USE_CLOUD_STORAGE: 'false' };
    /** As that user. */
    const cli = (...args: string[]) =>
      run(process.execPath, [builtProgram('node-agent/bin'), ...args], {
        env,
        uid: NOBODY,
        cwd: '/',
      });
    return { storePath, env, cli };
  }

  test.each([
    ['the catalog', '.codebegen-storage/catalog.sqlite'],
    ['a project', 'shop/generations'],
    ['staging', '.codebegen-storage/staging'],
  ])('where %s is of root, what saves and doctor name path and owner', async (_, path) => {
    const { storePath, cli } = await makeOwned();
    chownSync(join(storePath, path), 0, 0);
    const { code, stdout } = await cli(
      'save',
      `${ROOT}/docs/examples`,
      '--project',
      'shop',
      '--json',
    );
    expect([code, JSON.parse(stdout)]).toEqual([
      6,
      expect.objectContaining({
        code: 'forbidden',
        detail: expect.stringMatching(new RegExp(`${path}.* is of user 0, this runs as ${NOBODY}`)),
      }),
    ]);
    const { checks } = JSON.parse((await cli('doctor', '--json')).stdout);
    const failed = checks.filter(({ status }: { status: string }) => status === 'fail');
    expect(JSON.stringify(failed)).toContain(`is of user 0, this runs as ${NOBODY}`);
    expect(JSON.stringify(failed)).toContain(`chown -R ${NOBODY}`);
  });

  test('a daemon whose catalog becomes another user’s is not ready, and says why', async () => {
    const { storePath, env } = await makeOwned();
    const { daemon } = await startDaemon(env, { uid: NOBODY });
    const own = join(storePath, '.codebegen-storage');
    chownSync(join(own, 'staging'), 0, 0);
    for (const name of readdirSync(join(own, 'staging'))) {
      chownSync(join(own, 'staging', name), 0, 0);
      chmodSync(join(own, 'staging', name), 0o700);
    }
    const ready = await fetch(`${daemon.url}/readyz`);
    expect([ready.status, (await ready.json()).detail]).toEqual([
      503,
      expect.stringContaining('is of user 0'),
    ]);
  });

  test('root is told whose the store is', async () => {
    const { env } = await makeOwned();
    const { stderr } = await runCli(['save', `${ROOT}/docs/examples`, '--project', 'shop'], env);
    expect(stderr).toContain(`is of user ${NOBODY}`);
  });
});

describe('with a copy of the catalog, where nothing can be written', () => {
  async function makeApart() {
    const cloud = testCloud(uniqueId('bucket'));
    const storePath = await tempFolder();
    const projectId = uniqueId();
    const daemon = await openTestStorage({ storePath, cloud });
    await daemon.save({ ...SHOP, projectId, version: 1, files: FILES });
    await waitForStatus(daemon, { projectId, version: 1 }, 'verified');
    const own = await tempFolder();
    for (const name of ['catalog.sqlite', 'catalog.sqlite-wal', 'epoch', 'url-key']) {
      await copyFile(join(storePath, '.codebegen-storage', name), join(own, name)).catch(() => {});
    }
    const reason = new StorageError('disk_full', 'Cannot write the catalog: the disk is full');
    const options = { storePath, cloud, cache: await testCache(), background: false };
    const given = { ...options, uploadConcurrency: 1, cleanupEveryMs: null };
    const open = () => openStorageOn(given, () => new Workers(), { own, reason });
    const at = join(storePath, projectId, 'generations/v1__gen');
    return { cloud, storePath, projectId, daemon, open, at };
  }

  test('no original goes while another process has the store open, nor what took its place since', async () => {
    const { projectId, daemon, open, at } = await makeApart();
    const apart = await open();
    await expect(apart.cleanupStore({ olderThanMs: -1000 })).rejects.toMatchObject({
      code: 'disk_full',
    });
    const ref = { ...SHOP, projectId, version: 1 };
    await daemon.save({ ...ref, replace: true, files: { a: 'NEW' } });
    await daemon.close({ drainMs: 0 });
    expect(await apart.cleanupStore({ olderThanMs: -1000 })).toEqual({ evicted: 0, bytes: 0 });
    expect(existsSync(at)).toBe(true);
    await apart.close();
  });

  test('what goes is noticed by the catalog of the store', async () => {
    const { cloud, storePath, projectId, daemon, open, at } = await makeApart();
    await daemon.close();
    const apart = await open();
    expect(await apart.cleanupStore({ olderThanMs: -1000 })).toMatchObject({ evicted: 1 });
    await apart.close();
    expect(existsSync(at)).toBe(false);
    const storage = await openTestStorage({ storePath, cloud });
    expect(await storage.scanned(10_000)).toBe(true);
    expect((await storage.get({ projectId, version: 1 })).from).toBe('cloud');
  });

  test('what the cloud lost is told of, and nothing is taken from it that nobody would send again', async () => {
    const { cloud, projectId, daemon, open } = await makeApart();
    const { objectKey } = await daemon.summary({ projectId, version: 1 });
    await daemon.close();
    const { error } = await serviceClient().storage.from(cloud.bucket).remove([objectKey]);
    expect(error).toBeNull();
    const apart = await open();
    const found = [];
    for await (const verified of apart.verify()) found.push(verified);
    expect(found).toMatchObject([{ problems: [{ where: 'cloud' }] }]);
    expect((await apart.uploads()).items).toEqual([]);
    await apart.close();
  });
});

describe.skipIf(!canMount)('nearly full', () => {
  test('what cannot be read back from the cloud for want of room is not called damaged', async () => {
    const at = mountFileSystem('20m');
    const storePath = await tempFolder();
    const cloud = testCloud(uniqueId('bucket'));
    const storage = await openTestStorage({ storePath, cloud });
    const projectId = uniqueId();
    const files = { big: randomBytes(3_000_000) };
    await storage.save({ ...SHOP, projectId, version: 1, files });
    await waitForStatus(storage, { projectId, version: 1 }, 'verified');
    await storage.close();
    const moved = join(at, 'store');
    cpSync(storePath, moved, { recursive: true });
    rmSync(reserveIn(moved), { recursive: true });
    await fill(at);
    // A catalog can be opened, and no archive comes back beside it.
    truncateSync(join(at, 'filler'), statSync(join(at, 'filler')).size - 2_000_000);
    const ran = await runCli(['verify'], {
      ...{ FILE_STORAGE_PATH: moved, CACHE_PATH: join(at, 'cache'), USE_CLOUD_STORAGE: 'true' },
      ...{ SUPABASE_URL: cloud.url, SUPABASE_SERVICE_KEY: cloud.key },
      SUPABASE_BUCKET: cloud.bucket,
    });
    expect(ran.stdout).toContain('cloud  it cannot be read back: the disk is full');
    expect(ran.stdout).toContain('1 checked, 0 damaged, 1 not read back from the cloud');
    expect(ran.code).toBe(3);
  });

  test('what cannot be settled is tried twice, not for ever', async () => {
    const at = mountFileSystem('60m');
    const storePath = join(at, 'store');
    const quiet = await openTestStorage({ storePath, background: false });
    const big = randomBytes(12_000_000);
    await quiet.save({ ...SHOP, version: 1, files: { big } });
    await quiet.close();
    // The room is kept, and less than the archive needs is left beside it.
    writeFileSync(reserveIn(storePath), Buffer.alloc(3_000_000));
    await fill(at);
    truncateSync(join(at, 'filler'), statSync(join(at, 'filler')).size - 9_000_000);
    const problems: unknown[] = [];
    const storage = await openTestStorage({
      storePath,
      onProblem: (error) => problems.push(error),
    });
    await expect.poll(() => problems.length, { timeout: 30_000 }).toBe(1);
    expect(problems).toMatchObject([{ code: 'disk_full' }]);
    await storage.close();
    expect(problems).toHaveLength(1);
  });

  test('without inodes it is as full as without bytes', async () => {
    const at = mountFileSystem('20m,nr_inodes=80');
    const storePath = join(at, 'store');
    const storage = await openTestStorage({ storePath });
    await storage.save({ ...SHOP, version: 1, files: FILES });
    await storage.close();
    for (let n = 0; ; n++) {
      try {
        writeFileSync(join(at, `${n}`), '');
      } catch {
        break;
      }
    }
    rmSync(reserveIn(storePath), { recursive: true, force: true });
    writeFileSync(join(at, 'last'), '');
    const env = { FILE_STORAGE_PATH: storePath, USE_CLOUD_STORAGE: 'false' };
    const listed = await runCli(['list', 'shop'], env);
    expect([listed.code, listed.stdout]).toEqual([0, expect.stringContaining('v1 ')]);
    const saved = await runCli(['save', `${ROOT}/docs/examples`, '--project', 'p', '--json'], env);
    expect(JSON.parse(saved.stdout)).toMatchObject({ code: 'disk_full' });
  });
});
