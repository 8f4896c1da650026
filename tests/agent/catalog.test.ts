/** The catalog is an index of the disk: lost, damaged or old, it is made again. */
import {
  closeSync,
  cpSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Catalog } from '../../node-agent/catalog/catalog.ts';
import { markDeleted } from '../../node-agent/catalog/deleting.ts';
import { finishSave } from '../../node-agent/catalog/saving.ts';
import { writingTogether } from '../../node-agent/catalog/write-together.ts';
import { StorageError } from '../../node-agent/contract.ts';
import type { Storage } from '../../node-agent/index.ts';
import { Store } from '../../node-agent/store/store.ts';
import { Workers } from '../../node-agent/store/workers.ts';
import { openCatalog } from '../support/catalog.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

const FILES = { 'a/b.txt': 'b', c: 'c'.repeat(3000) };
const OWNER = 'c0ffee00-0000-4000-8000-000000000001';

test.each<[string, (catalog: string) => void]>([
  ['lost', (catalog) => rmSync(catalog)],
  ['empty', (catalog) => truncateSync(catalog, 0)],
  ['cut short', (catalog) => truncateSync(catalog, 5000)],
  ['something else', (catalog) => writeFileSync(catalog, 'no database at all'.repeat(500))],
  [
    'damaged in the middle, found after an unclean stop',
    (catalog) => {
      overwrite(catalog, 4096, statSync(catalog).size - 4096);
      // What a killed process leaves.
      writeFileSync(join(catalog, '../instances/gone.lock'), '');
    },
  ],
  [
    'of an older version of ours',
    (catalog) => {
      const db = new DatabaseSync(catalog);
      db.exec('drop table jobs; pragma user_version = 1');
      db.close();
    },
  ],
])('a catalog that is %s is made again: nothing is lost, nothing comes back', async (_, damage) => {
  const storePath = await tempFolder();
  const first = await openTestStorage({ storePath });
  const kept = await first.save({ projectId: 'p', ownerId: OWNER, files: FILES });
  const replaced = await first.save({ projectId: 'p', generationId: 'r', files: { a: 'old' } });
  await first.save({ ...replaced, files: { a: 'new' }, replace: true });
  const deleted = await first.save({ projectId: 'p', files: { a: 'deleted' } });
  await first.delete(deleted);
  for (const receipt of [kept, replaced]) await first.archive(receipt);
  const isNoted = async () => (await first.list('p')).items.every(({ sha256 }) => sha256 !== null);
  await expect.poll(isNoted, { timeout: 20_000 }).toBe(true);
  const before = await contentOf(first);
  await first.close();
  damage(join(storePath, '.codebegen-storage/catalog.sqlite'));

  const second = await openTestStorage({ storePath });
  expect(await contentOf(second)).toEqual(before);
  expect(readTree((await second.get(kept)).sourcePath)).toEqual({
    'a/b.txt': Buffer.from('b'),
    c: Buffer.from('c'.repeat(3000)),
  });
  await expect(second.get(deleted)).rejects.toMatchObject({ code: 'not_found' });
  expect((await second.save({ projectId: 'p', files: { a: '4' } })).version).toBe(4);
  await second.close();
  expect(readdirSync(join(storePath, '.codebegen-storage/instances'))).toEqual([]);
});

test('a damaged catalog is kept aside and told of, and not touched while others have it open', async () => {
  const storePath = await tempFolder();
  const running = await openTestStorage({ storePath });
  await running.save({ projectId: 'p', files: FILES });
  const folder = join(storePath, '.codebegen-storage');
  const db = openCatalog(storePath);
  db.exec('pragma wal_checkpoint(truncate)');
  db.close();
  writeFileSync(join(folder, 'catalog.sqlite'), 'damaged'.repeat(1000));
  await expect(openTestStorage({ storePath })).rejects.toMatchObject({
    code: 'corrupt',
    message: expect.stringMatching(/catalog\.sqlite".*damaged.*Stop them, then start again/),
  });
  await running.close().catch(() => {});

  const problems: { code?: string; message?: string }[] = [];
  const onProblem = (error: unknown) => problems.push(error as { code: string });
  const second = await openTestStorage({ storePath, onProblem });
  expect(problems).toMatchObject([
    { code: 'corrupt', message: expect.stringContaining('catalog.sqlite.damaged') },
  ]);
  expect(readdirSync(folder)).toContain('catalog.sqlite.damaged');
  expect((await second.list('p')).items).toHaveLength(1);
});

test('a catalog of a newer version is refused and left alone', async () => {
  const storePath = await tempFolder();
  await (await openTestStorage({ storePath })).close();
  const db = openCatalog(storePath);
  db.exec('pragma user_version = 99');
  db.close();
  await expect(openTestStorage({ storePath })).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('schema 99'),
  });
  expect(readdirSync(join(storePath, '.codebegen-storage'))).not.toContain(
    'catalog.sqlite.damaged',
  );
});

test('with a catalog made again nothing is uploaded twice, and what was deleted stays so', async () => {
  const storePath = await tempFolder();
  const bucket = uniqueId('bucket');
  const first = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const projectId = uniqueId();
  const kept = await first.save({ projectId, files: FILES });
  const deleted = await first.save({ projectId, files: { a: '1' } });
  await waitForStatus(first, kept, 'verified');
  await waitForStatus(first, deleted, 'verified');
  await first.delete(deleted);
  await first.drain();
  await first.close();
  rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));

  const proxy = await startFaultProxy(testCloud(bucket).url);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const second = await openTestStorage({ storePath, cloud });
  await waitForStatus(second, kept, 'verified');
  await second.drain();
  expect(proxy.seen.filter((line) => line.startsWith('POST /storage/v1/object/bucket'))).toEqual(
    [],
  );
  const rows = await serviceClient()
    .from('storage_generations')
    .select('version, status')
    .eq('project_id', projectId)
    .order('version');
  expect(rows.data).toEqual([
    { version: 1, status: 'verified' },
    { version: 2, status: 'deleted' },
  ]);
});

test('a replacement that was not sent yet takes the place of what the cloud has, the catalog being lost', async () => {
  const storePath = await tempFolder();
  const cloud = testCloud(uniqueId('bucket'));
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  const first = await openTestStorage({ storePath, cloud });
  await waitForStatus(first, await first.save({ ...ref, files: { a: 'old' } }), 'verified');
  await first.close();
  const second = await openTestStorage({ storePath });
  await second.save({ ...ref, files: { a: 'new' }, replace: true });
  await second.close();
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(join(storePath, `.codebegen-storage/catalog.sqlite${suffix}`), { force: true });
  }
  await waitForStatus(await openTestStorage({ storePath, cloud }), ref, 'verified');
  const elsewhere = await openTestStorage({ cloud });
  expect(readTree((await elsewhere.get(ref)).sourcePath)).toEqual({ a: Buffer.from('new') });
});

describe('what somebody put into a project by hand', () => {
  test('is found, and its version is not given again', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const first = await storage.save({ projectId: 'p', files: FILES });
    const elsewhere = await openTestStorage();
    const put = async (version: number) => {
      const ref = { projectId: 'p', version, generationId: `put-${version}` };
      const { path } = await elsewhere.save({ ...ref, files: { a: `${version}` } });
      cpSync(path, join(first.path, '..', basename(path)), { recursive: true });
      return ref;
    };
    const second = await put(2);
    expect(await storage.get(second)).toMatchObject({ generationId: 'put-2', from: 'store' });
    await put(3);
    expect((await storage.save({ projectId: 'p', files: { a: '1' } })).version).toBe(4);
    await put(5);
    await expect(
      storage.save({ projectId: 'p', version: 5, generationId: 'other', files: { a: '1' } }),
    ).rejects.toMatchObject({ code: 'conflict' });
    const sixth = await put(6);
    await storage.delete(sixth);
    await expect(storage.get(sixth)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('while a save or a replacement is under way is found too', async () => {
    const storage = await openTestStorage();
    const ref = { projectId: 'p', version: 1, generationId: 'g' };
    const { path } = await storage.save({ ...ref, files: FILES });
    await expect(storage.get({ projectId: 'p', version: 99 })).rejects.toThrow('Cannot find');
    const elsewhere = await openTestStorage();
    const put = async (version: number) => {
      const other = { projectId: 'p', version, generationId: `put-${version}` };
      const made = await elsewhere.save({ ...other, files: { a: `${version}` } });
      cpSync(made.path, join(path, '..', basename(made.path)), { recursive: true });
    };
    const { stage, commit } = Workers.prototype;
    onTestFinished(() => void Object.assign(Workers.prototype, { stage, commit }));
    Workers.prototype.commit = async function (this: Workers, input) {
      Workers.prototype.commit = commit;
      await put(20);
      return commit.call(this, input);
    };
    await storage.save({ projectId: 'p', files: { a: 'meanwhile' } });
    expect(await storage.get({ projectId: 'p', version: 20 })).toMatchObject({ from: 'store' });
    await expect(storage.get({ projectId: 'p', version: 99 })).rejects.toThrow('Cannot find');
    Workers.prototype.stage = async function (this: Workers, input) {
      await put(30);
      return stage.call(this, input);
    };
    await storage.save({ ...ref, files: { a: 'replaced' }, replace: true });
    expect(await storage.get({ projectId: 'p', version: 30 })).toMatchObject({ from: 'store' });
  });

  test('is looked for once, however many versions there are', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const looks = (['listProject', 'locate'] as const).map((name) =>
      vi.spyOn(Store.prototype, name),
    );
    onTestFinished(() => {
      for (const look of looks) look.mockRestore();
    });
    const missed = () =>
      expect(storage.get({ projectId: 'p', version: 999 })).rejects.toMatchObject({
        code: 'not_found',
      });
    // A save in between, a replacement and a deletion are ours.
    await storage.save({ projectId: 'p', generationId: 'g', version: 1, files: FILES });
    await missed();
    for (const look of looks) look.mockClear();
    for (let i = 0; i < 5; i++) {
      await storage.save({ projectId: 'p', files: { a: `${i}` } });
      await missed();
    }
    const ref = { projectId: 'p', generationId: 'g', version: 1 };
    await storage.save({ ...ref, files: { a: 'new' }, replace: true });
    await missed();
    await storage.delete(ref);
    await missed();
    for (const look of looks) expect(look).not.toHaveBeenCalled();
  });
});

async function contentOf(storage: Storage) {
  const { items } = await storage.list('p');
  const projects = (await storage.listProjects()).items;
  return { items, projects, status: (await storage.status()).generations };
}

function overwrite(path: string, offset: number, length: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(length, 0xa5), 0, length, offset);
  closeSync(fd);
}

test('what is gone by the time it would be noted is not noted', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  onTestFinished(() => catalog.close());
  const ref = { projectId: 'p', version: 1, generationId: 'g' };
  const facts = {
    digest: 'd',
    sha256: 's',
    md5: 'm',
    archiveBytes: 1,
    sourceBytes: 1,
    fileCount: 1,
    ownerId: null,
    isReplacement: false,
  };
  markDeleted(catalog, ref, '2026-01-01T00:00:00.000Z', 0);
  finishSave(catalog, ref, facts, '2026-01-01T00:00:00.000Z', 0, () => false);
  expect(catalog.generations.find('p', 1)).toMatchObject({ state: 'deleted' });
});

test('its log is copied into its file while it is in use, and begun anew: it does not grow without end', async () => {
  const path = join(await tempFolder(), 'catalog.sqlite');
  const catalog = new Catalog(path);
  onTestFinished(() => catalog.close());
  const sizeOf = (suffix: string) => statSync(path + suffix).size;
  let i = 0;
  const change = async (count: number) => {
    for (const end = i + count; i < end; i++) {
      const ref = { projectId: `p${i % 50}`, version: i + 1, generationId: `g${i}` };
      await catalog.write(() => markDeleted(catalog, ref, '2026-01-01T00:00:00.000Z', i));
    }
  };
  const before = sizeOf('');
  await change(800);
  expect(sizeOf('-wal')).toBeGreaterThan(16 * 1024 * 1024);
  await expect.poll(() => sizeOf(''), { timeout: 60_000 }).toBeGreaterThan(before);
  // What is written then is written over what was copied: in the end the log does not get longer.
  const grows = async () => {
    const was = sizeOf('-wal');
    await change(250);
    return sizeOf('-wal') > was;
  };
  await expect.poll(grows, { timeout: 60_000, interval: 200 }).toBe(false);
});

test('what is written at the same time is written in one transaction; who fails keeps no other from it', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  onTestFinished(() => catalog.close());
  const write = writingTogether(catalog);
  const told: string[] = [];
  const ensure = (projectId: string) => () => {
    told.push(`in ${projectId}`);
    catalog.afterCommit(() => told.push(`committed ${projectId}`));
    catalog.projects.ensure(projectId);
    return projectId;
  };
  expect(await Promise.all([write(ensure('a')), write(ensure('b'))])).toEqual(['a', 'b']);
  expect(told).toEqual(['in a', 'in b', 'committed a', 'committed b']);
  const before = catalog.meta.scan.distrusted;
  const failing = () => {
    ensure('d')();
    catalog.countUp('d');
    throw new StorageError('conflict', 'taken');
  };
  const written = await Promise.allSettled([
    write(ensure('c')),
    write(failing),
    write(ensure('e')),
  ]);
  expect(written).toMatchObject([{ value: 'c' }, { reason: { message: 'taken' } }, { value: 'e' }]);
  expect([...'abcde'].filter((id) => catalog.projects.has(id))).toEqual(['a', 'b', 'c', 'e']);
  expect(told.slice(4)).toEqual(['in c', 'in d', 'in e', 'committed c', 'committed e']);
  // What failed is looked at once more, and nothing else is.
  catalog.transaction(() => {});
  const { distrusted, unread } = catalog.meta.scan;
  expect([distrusted, Object.keys(unread)]).toEqual([before, ['d']]);
});

test('a catalog that is closed says so, whatever it is asked', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  catalog.close();
  const closed = { code: 'unavailable', message: expect.stringContaining('is closed') };
  const asked: (() => unknown)[] = [
    () => catalog.generations.find('p', 1),
    () => catalog.transaction(() => 1),
    () => catalog.write(() => 1),
    () => catalog.write(() => 1, { durably: true }),
  ];
  for (const ask of asked) {
    await expect((async () => ask())()).rejects.toMatchObject(closed);
  }
});
