/** What happens to a generation after the answer: its tree lasts, its archive goes once it may. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

const FILES = {
  'a/b.txt': 'b',
  'big.txt': 'x1'.repeat(2_000_000),
  run: { content: '#', mode: 0o755 },
};

test('an archive stays while the cloud is off, and goes once its bytes are proven there', async () => {
  const storePath = await tempFolder();
  const local = await openTestStorage({ storePath });
  const receipt = await settled(local, local.save({ projectId: uniqueId(), files: FILES }));
  const archive = join(receipt.path, 'archive.tar.gz');
  await local.close();
  expect(existsSync(archive)).toBe(true);

  const storage = await openTestStorage({ storePath, cloud: testCloud(uniqueId('bucket')) });
  await waitForStatus(storage, receipt, 'verified');
  await gone(archive);
  expect(Object.keys(readTree((await storage.get(receipt)).sourcePath)).sort()).toEqual(
    Object.keys(FILES).sort(),
  );
  // Made again, it is the same to the byte.
  expect(await storage.archive(receipt)).toMatchObject({
    sha256: receipt.sha256,
    bytes: receipt.archiveBytes,
  });
  expect(existsSync(archive)).toBe(true);
});

test('an archive made again is sent again where the cloud lost it', async () => {
  const storePath = await tempFolder();
  const bucket = uniqueId('bucket');
  const first = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const receipt = await settled(first, first.save({ projectId: uniqueId(), files: FILES }));
  await waitForStatus(first, receipt, 'verified');
  await gone(join(receipt.path, 'archive.tar.gz'));
  const { objectKey } = await first.show(receipt);
  await first.close();
  await serviceClient().storage.from(bucket).remove([objectKey]);
  for (const table of ['storage_manifests', 'storage_generations']) {
    await serviceClient().from(table).delete().eq('project_id', receipt.projectId);
  }
  rmSync(join(storePath, '.codebegen-storage/catalog.sqlite'));

  const second = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  await waitForStatus(second, receipt, 'verified');
  expect((await serviceClient().storage.from(bucket).exists(objectKey)).data).toBe(true);
});

test('an archive is not made of a tree that somebody changed', async () => {
  const storage = await openTestStorage();
  const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
  rmSync(join(receipt.path, 'archive.tar.gz'));
  writeFileSync(join(receipt.path, 'source/a/b.txt'), 'B');
  await expect(storage.archive(receipt)).rejects.toMatchObject({
    code: 'corrupt',
    message: expect.stringContaining('a/b.txt'),
  });
  rmSync(join(receipt.path, 'source/a/b.txt'));
  await expect(storage.archive(receipt)).rejects.toMatchObject({ code: 'corrupt' });
  expect(existsSync(join(receipt.path, 'archive.tar.gz'))).toBe(false);
});

test('a replacement that is not uploaded yet keeps its archive', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath, cloud: testCloud(uniqueId('bucket')) });
  const receipt = await settled(
    storage,
    storage.save({
      projectId: uniqueId(),
      generationId: 'g',
      files: { a: '1' },
    }),
  );
  await waitForStatus(storage, receipt, 'verified');
  await gone(join(receipt.path, 'archive.tar.gz'));
  await storage.close();
  const offline = await openTestStorage({ storePath });
  await offline.save({ ...receipt, files: { a: '2' }, replace: true });
  await offline.close();
  const db = new DatabaseSync(join(storePath, '.codebegen-storage/catalog.sqlite'));
  expect(db.prepare('select status, archive_kept from generations').all()).toEqual([
    { status: 'pending', archive_kept: 1 },
  ]);
  db.close();
  expect(existsSync(join(receipt.path, 'archive.tar.gz'))).toBe(true);
});

async function gone(path: string): Promise<void> {
  while (existsSync(path)) await sleep(5);
}
