/** A catalog that is not of this disk, or of another time: the disk decides. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Receipt, Storage } from '../../node-agent/index.ts';
import { Layout } from '../../node-agent/store/layout.ts';
import { Store } from '../../node-agent/store/store.ts';
import { openCatalog } from '../support/catalog.ts';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

const SUFFIXES = ['', '-wal', '-shm'];
const REPLACED = { projectId: 'p', version: 1, generationId: 'replaced' };
const THERE_AND_BACK = { projectId: 'p', version: 2, generationId: 'there-and-back' };
const DELETED = { projectId: 'p', version: 3, generationId: 'deleted' };
const NEW = { projectId: 'p', version: 4, generationId: 'new' };
const ALONE = { projectId: 'alone', version: 1, generationId: 'alone' };

async function before(storage: Storage): Promise<void> {
  for (const ref of [REPLACED, THERE_AND_BACK, DELETED]) {
    await storage.save({ ...ref, files: { a: 'old' } });
  }
}

async function after(storage: Storage): Promise<void> {
  await storage.save({ ...REPLACED, files: { a: 'new' }, replace: true });
  await storage.save({ ...THERE_AND_BACK, files: { a: 'other' }, replace: true });
  await storage.save({ ...THERE_AND_BACK, files: { a: 'old' }, replace: true });
  await storage.delete(DELETED);
  await storage.save({ ...NEW, files: { a: 'new' } });
  await storage.save({ ...ALONE, files: { a: 'alone' } });
}

async function expectAfter(storage: Storage): Promise<void> {
  const texts = async (ref: typeof NEW) => readTexts((await storage.get(ref)).sourcePath);
  expect(await texts(REPLACED)).toEqual({ a: 'new' });
  expect(await texts(THERE_AND_BACK)).toEqual({ a: 'old' });
  expect(await texts(NEW)).toEqual({ a: 'new' });
  expect(await texts(ALONE)).toEqual({ a: 'alone' });
  await expect(storage.get(DELETED)).rejects.toMatchObject({ code: 'not_found' });
  const digests = (await storage.list('p')).items.map(({ version, digest }) => [version, digest]);
  const [first, second, third] = digests;
  expect([first![0], second![0], third![0]]).toEqual([4, 2, 1]);
  // New content, the new content again, and the old.
  expect(first![1]).toBe(third![1]);
  expect(first![1]).not.toBe(second![1]);
  expect((await storage.listProjects()).items.map(({ projectId }) => projectId)).toEqual([
    'alone',
    'p',
  ]);
  await expect(storage.save({ ...DELETED, files: { a: 'x' } })).rejects.toMatchObject({
    code: 'conflict',
  });
  expect((await storage.save({ projectId: 'p', files: { a: 'next' } })).version).toBe(5);
}

function copyCatalog(from: string, to: string): void {
  for (const suffix of SUFFIXES) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) cpSync(from + suffix, to + suffix);
  }
}

/** A store with all of it, and its catalog as it was in the middle, without the agent that has it open. */
async function storeWithOldCatalog(): Promise<{ storePath: string; old: string }> {
  const storePath = await tempFolder();
  const old = join(await tempFolder(), 'catalog.sqlite');
  const first = await openTestStorage({ storePath });
  await before(first);
  await first.close();
  copyCatalog(new Layout(storePath).catalog, old);
  const second = await openTestStorage({ storePath });
  await after(second);
  await second.close();
  return { storePath, old };
}

describe('the disk decides where the catalog', () => {
  test('is one that was put back', async () => {
    const { storePath, old } = await storeWithOldCatalog();
    copyCatalog(old, new Layout(storePath).catalog);
    await expectAfter(await openTestStorage({ storePath }));
  });

  test('was put back, and the mark beside it too is gone, or is of another store', async () => {
    const { storePath, old } = await storeWithOldCatalog();
    const { catalog, own } = new Layout(storePath);
    const elsewhere = await tempFolder();
    const other = await openTestStorage({ storePath: elsewhere });
    await other.save({ projectId: 'p', files: { a: 'a' } });
    for (const damage of [
      () => rmSync(join(own, 'epoch')),
      () => writeFileSync(join(own, 'epoch'), ''),
      () => writeFileSync(join(own, 'epoch'), '{"catalog": 1'),
      () => cpSync(join(new Layout(elsewhere).own, 'epoch'), join(own, 'epoch')),
    ]) {
      copyCatalog(old, catalog);
      damage();
      const storage = await openTestStorage({ storePath, background: false });
      expect((await storage.list('p')).items.map(({ version }) => version)).toEqual([4, 2, 1]);
      await storage.close();
    }
    copyCatalog(old, catalog);
    rmSync(join(own, 'epoch'));
    await expectAfter(await openTestStorage({ storePath }));
  });

  test('was put back, and of what is replaced while both are compared the newest is known', async () => {
    const { storePath, old } = await storeWithOldCatalog();
    copyCatalog(old, new Layout(storePath).catalog);
    const { readManifest } = Store.prototype;
    const files = { a: 'newest' };
    let replacing: Promise<Receipt> | null = null;
    const spy = vi.spyOn(Store.prototype, 'readManifest');
    onTestFinished(() => spy.mockRestore());
    spy.mockImplementation(async function (this: Store, ref) {
      const manifest = await readManifest.call(this, ref);
      if (replacing !== null || ref.projectId !== 'p') return manifest;
      // What was read is out of date before it is noted.
      replacing = openTestStorage({ storePath, background: false }).then((other) =>
        other.save({ ...ref, files, replace: true }),
      );
      await replacing;
      return manifest;
    });
    const storage = await openTestStorage({ storePath, background: false });
    const { items } = await storage.list('p');
    const { version, digest } = await replacing!;
    expect(items.find((item) => item.version === version)).toMatchObject({ digest });
    expect(readTexts((await storage.get({ projectId: 'p', version })).sourcePath)).toEqual({
      a: 'newest',
    });
  });

  test('is that of another store', async () => {
    const { storePath } = await storeWithOldCatalog();
    const elsewhere = await tempFolder();
    const other = await openTestStorage({ storePath: elsewhere });
    // Under the same versions, and one that is nowhere here.
    for (const version of [1, 2, 3]) {
      await other.save({ projectId: 'p', version, files: { a: `other ${version}` } });
    }
    await other.close();
    copyCatalog(new Layout(elsewhere).catalog, new Layout(storePath).catalog);
    await expectAfter(await openTestStorage({ storePath }));
  });

  test('lost what was not in its main file yet, the process having been killed', async () => {
    const { storePath, daemon } = await startDaemon();
    const post = async (ref: typeof NEW, text: string, replace = false) => {
      const answer = await fetch(`${daemon.url}/v1/generations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          ...{ project_id: ref.projectId, version: ref.version, generation_id: ref.generationId },
          ...{ files: { a: text }, replace },
        }),
      });
      expect(answer.ok).toBe(true);
    };
    for (const ref of [REPLACED, THERE_AND_BACK, DELETED]) await post(ref, 'old');
    const db = openCatalog(storePath);
    db.exec('pragma wal_checkpoint(full)');
    db.close();
    await post(REPLACED, 'new', true);
    await post(THERE_AND_BACK, 'other', true);
    await post(THERE_AND_BACK, 'old', true);
    await fetch(`${daemon.url}/v1/projects/p/3`, { method: 'DELETE' });
    await post(NEW, 'new');
    await post(ALONE, 'alone');
    const ended = once(daemon.child, 'exit');
    daemon.child.kill('SIGKILL');
    await ended;
    const { catalog } = new Layout(storePath);
    for (const suffix of ['-wal', '-shm']) rmSync(catalog + suffix, { force: true });
    await expectAfter(await openTestStorage({ storePath }));
  });

  test('is a copy that another program made while the store was in use', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    await before(storage);
    // That of the catalog comes first, that of the rest last: as far apart as they may be.
    const copy = await tempFolder();
    const stale = join(await tempFolder(), 'catalog.sqlite');
    copyCatalog(new Layout(storePath).catalog, stale);
    await after(storage);
    // Of what goes meanwhile it says that it is gone.
    spawnSync('cp', ['-a', `${storePath}/.`, copy]);
    copyCatalog(stale, new Layout(copy).catalog);
    await expectAfter(await openTestStorage({ storePath: copy }));
  });

  test('is owed to the cloud again where it was put back, and evicts nothing that is only here', async () => {
    const storePath = await tempFolder();
    const cloud = testCloud(uniqueId('bucket'));
    const projectId = uniqueId();
    const ref = { projectId, version: 1, generationId: 'g' };
    const old = join(await tempFolder(), 'catalog.sqlite');
    const first = await openTestStorage({ storePath, cloud });
    await first.save({ ...ref, files: { a: 'old' } });
    await waitForStatus(first, ref, 'verified');
    await first.close();
    copyCatalog(new Layout(storePath).catalog, old);
    const second = await openTestStorage({ storePath });
    await second.save({ ...ref, files: { a: 'new' }, replace: true });
    const added = await second.save({ projectId, files: { a: 'added' } });
    await second.close();
    copyCatalog(old, new Layout(storePath).catalog);

    const third = await openTestStorage({ storePath, cloud });
    for (const saved of [ref, added]) await waitForStatus(third, saved, 'verified');
    const elsewhere = await openTestStorage({ cloud });
    expect(readTexts((await elsewhere.get(ref)).sourcePath)).toEqual({ a: 'new' });
    expect(readTexts((await elsewhere.get(added)).sourcePath)).toEqual({ a: 'added' });
  });

  test('lacks what one transaction noted: that project is read, and no other', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    await storage.save({ projectId: 'p', generationId: 'g', files: { a: 'a' } });
    await storage.save({ projectId: 'q', generationId: 'g', files: { a: 'a' } });
    const path = join(new Layout(storePath).own, 'epoch');
    const mark = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...mark, count: mark.count + 1, project: 'p' }));
    const db = openCatalog(storePath);
    db.exec('delete from generations; delete from jobs');
    db.close();
    // In the process that has it open, at the next transaction; and in another that opens it.
    await storage.save({ projectId: 'r', files: { a: 'a' } });
    expect((await storage.list('p')).items).toHaveLength(1);
    expect((await storage.list('q')).items).toHaveLength(0);
    expect(await storage.status()).toMatchObject({ scan: null });
    const other = await openTestStorage({ storePath, background: false });
    expect((await other.list('p')).items).toHaveLength(1);
    expect((await other.list('q')).items).toHaveLength(0);
  });
});

test('a catalog that is of this disk is believed: nothing is read again', async () => {
  const storePath = await tempFolder();
  const first = await openTestStorage({ storePath });
  await before(first);
  await after(first);
  await expect.poll(async () => (await first.status()).scan).toBeNull();
  await first.close();
  const second = await openTestStorage({ storePath, background: false });
  expect((await second.status()).scan).toBeNull();
});

test('where the mark cannot be read or written, the path is named and nothing is saved', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  const ref = { projectId: 'p', version: 1, generationId: 'g' };
  const mark = join(new Layout(storePath).own, 'epoch');
  rmSync(mark);
  mkdirSync(mark);
  await expect(storage.save({ ...ref, files: { a: 'a' } })).rejects.toMatchObject({
    code: 'invalid_input',
    message: expect.stringContaining(mark),
  });
  rmdirSync(mark);
  expect((await storage.save({ ...ref, files: { a: 'a' } })).created).toBe(true);
});
