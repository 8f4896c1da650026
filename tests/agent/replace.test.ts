import { createReadStream, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { run } from '../support/run.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { listTree, readTree } from '../support/tree.ts';
import { keysOf } from '../support/two-hosts.ts';

const files = (text: string) => ({ a: text, [`only-in-${text}`]: text });

describe('replace', () => {
  test('puts other content in the place of a generation and leaves nothing of the old', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const input = { projectId: 'p', version: 1, generationId: 'g' };
    const old = await storage.save({ ...input, files: files('old') });
    const replaced = await settled(
      storage,
      storage.save({ ...input, files: files('new'), replace: true }),
    );
    expect(replaced).toMatchObject({ created: true, version: 1, path: old.path });
    expect(readTree((await storage.get(input)).sourcePath)).toEqual({
      a: Buffer.from('new'),
      'only-in-new': Buffer.from('new'),
    });
    expect((await storage.list('p')).items).toMatchObject([{ sha256: replaced.sha256 }]);
    // The room that is kept for a full disk is made there too, beside it.
    const left = () =>
      listTree(join(storePath, '.codebegen-storage')).filter((name) =>
        /(replacing|staging\/[^/]+)\/./.test(name),
      );
    await expect.poll(left).toEqual([]);
    // The same again is no replacement, and without leave other content is a conflict still.
    expect(await storage.save({ ...input, files: files('new'), replace: true })).toMatchObject({
      created: false,
    });
    await expect(storage.save({ ...input, files: files('old') })).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('by many at once leaves one of them, whole', async () => {
    const storage = await openTestStorage();
    const input = { projectId: 'p', version: 1, generationId: 'g', replace: true };
    const texts = Array.from({ length: 8 }, (_, i) => `${i}`);
    await Promise.all(texts.map((text) => storage.save({ ...input, files: files(text) })));
    const tree = readTree((await storage.get(input)).sourcePath);
    const text = String(tree.a);
    expect(tree).toEqual({ a: Buffer.from(text), [`only-in-${text}`]: Buffer.from(text) });
  });

  test('in the cloud goes to a key of its own, switches the row, and keeps the old object for a while', async () => {
    const bucket = uniqueId('bucket');
    const storage = await openTestStorage({ cloud: testCloud(bucket) });
    const input = { projectId: uniqueId(), version: 1, generationId: 'g' };
    const old = await storage.save({ ...input, files: files('old') });
    const { objectKey: oldKey } = await waitForStatus(storage, old, 'verified');
    const replaced = await settled(
      storage,
      storage.save({ ...input, files: files('new'), replace: true }),
    );
    expect(replaced.status).toBe('pending');
    const { objectKey } = await waitForStatus(storage, replaced, 'verified');
    expect(objectKey).toBe(
      `${input.projectId}/generations/v1__g.${replaced.sha256.slice(0, 12)}.tar.gz`,
    );
    const { data } = await serviceClient()
      .from('storage_generations')
      .select('object_key, sha256, digest, status')
      .eq('project_id', input.projectId);
    expect(data).toEqual([
      {
        object_key: objectKey,
        sha256: replaced.sha256,
        digest: replaced.digest,
        status: 'verified',
      },
    ]);
    const into = serviceClient().storage.from(bucket);
    expect((await into.exists(objectKey)).data).toBe(true);
    expect((await into.exists(oldKey)).data).toBe(true);
    // And once more, and back: each replacement is an object of its own.
    const back = await storage.save({ ...input, files: files('old'), replace: true });
    await waitForStatus(storage, back, 'verified');
    expect(await keysOf(bucket, input.projectId)).toHaveLength(1);
    const archives = serviceClient()
      .from('storage_archives')
      .update({ purge_at: new Date(0) });
    await archives.match({ project_id: input.projectId, state: 'kept' });
    await storage.purge();
    expect((await into.list(`${input.projectId}/generations`)).data).toHaveLength(1);
  });

  test('before the first upload uploads the new content alone', async () => {
    const storePath = await tempFolder();
    const off = await openTestStorage({ storePath });
    const input = { projectId: uniqueId(), version: 1, generationId: 'g' };
    await off.save({ ...input, files: files('old') });
    const replaced = await settled(off, off.save({ ...input, files: files('new'), replace: true }));
    await off.close();
    const bucket = uniqueId('bucket');
    const on = await openTestStorage({ storePath, cloud: testCloud(bucket) });
    await waitForStatus(on, replaced, 'verified');
    const listed = await serviceClient()
      .storage.from(bucket)
      .list(`${input.projectId}/generations`);
    expect(listed.data).toHaveLength(1);
  });
});

describe('a tar', () => {
  test.each([
    ['plain', 'cf'],
    ['gzipped', 'czf'],
  ])('%s is saved as the folder would be', async (_, flags) => {
    const { folder, tar } = await makeTar(flags);
    const storage = await openTestStorage();
    const receipt = await settled(
      storage,
      storage.saveTar({ projectId: 'p', generationId: 'g', tar }),
    );
    const again = await storage.saveFolder({ projectId: 'p', generationId: 'g', folder });
    expect(again).toMatchObject({ created: false, digest: receipt.digest });
  });

  test('with a link, or that is none, is refused and leaves nothing', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const { tar } = await makeTar('cf', 'ln -s /etc/passwd link');
    await expect(storage.saveTar({ projectId: 'p', tar, links: 'error' })).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining('symlink'),
    });
    const garbage = async function* () {
      yield Buffer.alloc(5000, 'garbage');
    };
    await expect(storage.saveTar({ projectId: 'p', tar: garbage() })).rejects.toMatchObject({
      code: 'corrupt',
    });
    expect(listTree(storePath).filter((name) => /^p$|staging\/[^/]+\/./.test(name))).toEqual([]);
  });
});

test('activate links to a generation; saving and replacing do not change it, deleting it does', async () => {
  const storage = await openTestStorage();
  const first = await storage.save({ projectId: 'p', generationId: 'g1', files: { a: '1' } });
  const second = await storage.save({ projectId: 'p', generationId: 'g2', files: { a: '2' } });
  expect(await storage.activeVersion('p')).toBeNull();
  await storage.activate(second);
  await storage.activate(first);
  expect(readlinkSync(join(first.path, '../active'))).toBe('v1__g1');
  await storage.save({ projectId: 'p', files: { a: '3' } });
  expect(await storage.activeVersion('p')).toBe(1);
  await expect(storage.activate({ projectId: 'p', version: 9 })).rejects.toMatchObject({
    code: 'not_found',
  });
  await storage.delete(first);
  expect(await storage.activeVersion('p')).toBeNull();
});

async function makeTar(flags: string, before = 'true') {
  const folder = await tempFolder();
  await writeFiles(folder, { 'a/b.txt': 'b', 'ü.txt': 'ü', [`${'l'.repeat(120)}/x`]: 'long' });
  const file = join(await tempFolder(), 'a.tar');
  const ran = await run('sh', ['-c', `${before} && tar ${flags} ${file} .`], { cwd: folder });
  expect(ran.code, ran.stderr).toBe(0);
  return { folder, tar: createReadStream(file) as AsyncIterable<Uint8Array> };
}

test('an archive that is packed again meanwhile is never that of what was replaced', async () => {
  const storage = await openTestStorage();
  const ref = { projectId: 'p', version: 1, generationId: 'g' };
  const many = (text: string) =>
    Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, text.repeat(200) + i]));
  let receipt = await storage.save({ ...ref, files: many('x') });
  for (let round = 0; round < 40; round++) {
    await storage.get(ref);
    rmSync(join(receipt.path, 'archive.tar.gz'), { force: true });
    const replacing = storage.save({ ...ref, files: many(`${round} `), replace: true });
    const archives = Array.from({ length: 3 }, () => storage.archive(ref));
    receipt = await replacing;
    await Promise.all(archives);
    await storage.archive(ref);
    const facts = JSON.parse(readFileSync(join(receipt.path, 'archive.json'), 'utf8'));
    expect(facts.sha256).toBe((await storage.show(ref)).sha256);
  }
});

test('the longest ids can be replaced', async () => {
  const storage = await openTestStorage();
  const ref = { projectId: 'p'.repeat(128), version: 1, generationId: 'g'.repeat(128) };
  await storage.save({ ...ref, files: { a: '1' } });
  expect(await storage.save({ ...ref, files: { a: '2' }, replace: true })).toMatchObject({
    created: true,
  });
});
