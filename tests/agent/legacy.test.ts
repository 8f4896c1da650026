/** What the Python system left on disk is read where it lies. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

test.each([
  ['beside each other', ''],
  ['in source/', 'source/'],
])('a flat project with its files %s is a project with one version', async (_, prefix) => {
  const storePath = await tempFolder();
  await writeFiles(join(storePath, 'gen-1'), {
    [`${prefix}main.py`]: 'print(1)',
    [`${prefix}app/util.py`]: 'x = 1',
  });
  const storage = await openTestStorage({ storePath });
  const ref = { projectId: 'gen-1', version: 1, generationId: 'gen-1' };
  const found = await storage.get(ref);
  expect(found).toMatchObject({ ...ref, from: 'store' });
  expect(found.manifest).toMatchObject({
    files: ['app/util.py', 'main.py'],
    file_count: 2,
    total_size_bytes: 13,
  });
  expect(Object.keys(readTree(found.sourcePath)).sort()).toEqual(['app/util.py', 'main.py']);
  expect(await storage.show(ref)).toMatchObject({
    ...ref,
    status: 'local',
    fileCount: 2,
    bytes: 13,
  });
  expect((await storage.listProjects()).items).toMatchObject([{ projectId: 'gen-1', versions: 1 }]);
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });

  // It is a project like others: the next version goes beside it.
  expect(await storage.save({ projectId: 'gen-1', files: { a: '2' } })).toMatchObject({
    version: 2,
  });
  expect((await storage.list('gen-1')).items.map((item) => item.version)).toEqual([2, 1]);
  expect((await storage.get(ref)).manifest.files).toEqual(['app/util.py', 'main.py']);

  await storage.delete(ref);
  await expect(storage.get(ref)).rejects.toMatchObject({ code: 'not_found' });
  expect(readdirSync(join(storePath, 'gen-1'))).toEqual(['generations']);
  await storage.close();
  const again = await openTestStorage({ storePath });
  expect((await again.list('gen-1')).items.map((item) => item.version)).toEqual([2]);
});

test('a versioned generation with an old manifest is read, and not owed to the cloud', async () => {
  const storePath = await tempFolder();
  const folder = join(storePath, 'shop/generations/v3__gen-456');
  const manifest = {
    generation_id: 'gen-456',
    project_id: 'shop',
    version: 3,
    created_at: '2024-05-01T10:00:00',
    file_count: 1,
    total_size_bytes: 2,
    files: ['main.py'],
    metadata: { prompt: 'a shop' },
  };
  await writeFiles(folder, {
    'manifest.json': JSON.stringify(manifest),
    'source/main.py': 'hi',
  });
  await mkdir(join(folder, 'artifacts'));
  await symlink('v3__gen-456', join(storePath, 'shop/generations/active'));
  await writeFiles(join(storePath, 'shop/archive'), { 'v1__gen-1.tar.gz': 'old' });
  const storage = await openTestStorage({ storePath });
  expect(await storage.get({ projectId: 'shop', version: 3 })).toMatchObject({
    generationId: 'gen-456',
    manifest,
  });
  expect((await storage.list('shop')).items).toMatchObject([{ version: 3, status: 'local' }]);
  expect(await storage.activeVersion('shop')).toBe(3);
  expect((await storage.status()).outbox.owed).toBe(0);
  expect(await storage.downloadUrl({ projectId: 'shop', version: 3 })).toBeNull();
});

test('a flat project that appears while the storage is open is found', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  await writeFiles(join(storePath, 'late'), { 'main.py': 'x' });
  expect((await storage.get({ projectId: 'late', version: 1 })).manifest.files).toEqual([
    'main.py',
  ]);
  await expect(storage.get({ projectId: 'late', version: 2 })).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('a flat project keeps its own project.json, and no link leads out of it', async () => {
  const storePath = await tempFolder();
  await writeFiles(storePath, { 'old/main.py': 'print(1)', 'old/project.json': '{"name":"mine"}' });
  await symlink('/etc', join(storePath, 'old/link'));
  const storage = await openTestStorage({ storePath });
  const owner = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
  await storage.save({ projectId: 'old', ownerId: owner, files: { a: '2' } });
  const found = await storage.get({ projectId: 'old', version: 1 });
  expect(found.manifest.files).toEqual(['main.py', 'project.json']);
  expect(readFileSync(join(storePath, 'old/project.json'), 'utf8')).toBe('{"name":"mine"}');
  const again = await openTestStorage({ storePath });
  expect((await again.listProjects()).items).toMatchObject([{ projectId: 'old', ownerId: owner }]);
});
