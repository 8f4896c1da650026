/** What happens to the archive of a generation after the answer: it stays, and is mended where it can. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';

const FILES = {
  'a/b.txt': 'b',
  'big.txt': 'x1'.repeat(2_000_000),
  run: { content: '#', mode: 0o755 },
};

test('an archive stays, also once its bytes are proven to be in the cloud', async () => {
  const storage = await openTestStorage({ cloud: testCloud(uniqueId('bucket')) });
  const receipt = await settled(storage, storage.save({ projectId: uniqueId(), files: FILES }));
  await waitForStatus(storage, receipt, 'verified');
  await storage.close();
  expect(existsSync(join(receipt.path, 'archive.tar.gz'))).toBe(true);
});

test('an archive that is gone is made again from the tree, the same to the byte', async () => {
  const storage = await openTestStorage();
  const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
  await storage.get(receipt);
  rmSync(join(receipt.path, 'archive.tar.gz'));
  expect(await storage.archive(receipt)).toMatchObject({
    sha256: receipt.sha256,
    bytes: receipt.archiveBytes,
  });
});

test('an archive is not made of a tree that somebody changed', async () => {
  const storage = await openTestStorage();
  const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
  await storage.get(receipt);
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
