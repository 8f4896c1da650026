import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { Instance } from '../../node-agent/catalog/instance.ts';
import { ROOT } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree } from '../support/tree.ts';

test('an instance is gone when it closed, and not while it runs', async () => {
  const folder = await tempFolder();
  const [a, b] = [new Instance(folder), new Instance(folder)];
  expect(a.isGone(b.id)).toBe(false);
  expect(a.isGone(a.id)).toBe(false);
  b.close();
  expect(a.isGone(b.id)).toBe(true);
  a.close();
});

test('of a process that was killed nothing is left to wait for', async () => {
  const storePath = await tempFolder();
  // Saves without end; every line is a receipt.
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { openStorage, readConfig } from '${ROOT}/node-agent/index.ts';
       const storage = await openStorage(readConfig({ FILE_STORAGE_PATH: '${storePath}' }));
       const files = Object.fromEntries(Array.from({ length: 200 }, (_, i) => ['f' + i, 'x'.repeat(i)]));
       for (;;) console.log((await storage.save({ projectId: 'p', files })).version);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const receipts: number[] = [];
  for await (const line of createInterface(child.stdout)) {
    receipts.push(Number(line));
    if (receipts.length === 5) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(receipts.length).toBeGreaterThanOrEqual(5);

  const storage = await openTestStorage({ storePath });
  const versions = (await storage.list('p')).items.map((item) => item.version);
  expect(versions).toEqual(expect.arrayContaining(receipts));
  for (const version of versions) {
    const { manifest } = await storage.get({ projectId: 'p', version });
    expect(manifest.files).toHaveLength(200);
  }
  expect(
    listTree(join(storePath, '.codebegen-storage/staging')).filter((n) => n.includes('/')),
  ).toEqual([]);
  // Its versions are free again, or taken for good: the next save does not wait.
  await storage.save({ projectId: 'p', files: { a: '1' } });
});
