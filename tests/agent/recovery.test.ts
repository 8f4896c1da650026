/** What is left after a power loss, a killed process or a race, and what comes of it. */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { readFile, rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { describe, expect, inject, test } from 'vitest';
import type { Receipt } from '../../node-agent/index.ts';
import { openCatalog } from '../support/catalog.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { any, first, startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';
import { keysOf } from '../support/two-hosts.ts';

const FILES = { 'app/main.py': 'print(1)\n', 'e/f.txt': 'x'.repeat(5000), empty: '' };
const EXPECTED = Object.fromEntries(
  Object.entries(FILES).map(([path, text]) => [path, Buffer.from(text)]),
);

describe('after a power loss', () => {
  test.each<[string, (receipt: Receipt, catalog: DatabaseSync) => void]>([
    ['took the content of the tree', loseTree],
    [
      'took the tree and the row',
      (receipt, catalog) => {
        loseTree(receipt);
        catalog.exec('delete from generations');
      },
    ],
    [
      'took the tree and left the row at "saving"',
      (receipt, catalog) => {
        loseTree(receipt);
        catalog.exec(`update generations set state = 'saving', instance_id = 'gone'`);
      },
    ],
    [
      'took files away',
      ({ path }) => {
        rmSync(join(path, 'source/e'), { recursive: true });
        rmSync(join(path, 'manifest.json'));
      },
    ],
  ])('that %s, a generation with a receipt is whole and owed', async (_, lose) => {
    const storePath = await tempFolder();
    const first = await openTestStorage({ storePath, background: false });
    const receipt = await settled(
      first,
      first.save({ projectId: 'p', generationId: 'g', files: FILES }),
    );
    await first.get(receipt);
    await first.close();
    onCatalog(storePath, (catalog) => {
      lose(receipt, catalog);
      forgetBoot(receipt);
      catalog.exec(`update meta set value = 'another boot' where key = 'scanned_boot'`);
    });

    const problems: unknown[] = [];
    const second = await openTestStorage({ storePath, onProblem: (error) => problems.push(error) });
    expect(readTree((await second.get(receipt)).sourcePath)).toEqual(EXPECTED);
    expect(problems).toEqual([]);
    expect(await second.show(receipt)).toMatchObject({ digest: receipt.digest, fileCount: 3 });
    const archive = await readFile(join(receipt.path, 'archive.tar.gz'));
    expect(createHash('sha256').update(archive).digest('hex')).toBe(receipt.sha256);
    // The version is taken, also where the catalog had lost it.
    expect((await second.save({ projectId: 'p', files: { a: '1' } })).version).toBe(2);
  });

  test('that took a row, another generation under its version is told of and not mixed up', async () => {
    const storePath = await tempFolder();
    const first = await openTestStorage({ storePath });
    const lost = await first.save({ projectId: 'p', generationId: 'lost', files: { a: 'lost' } });
    await first.close();
    onCatalog(storePath, (catalog) => catalog.exec('delete from generations; delete from jobs'));
    await rename(lost.path, join(storePath, 'aside'));
    const second = await openTestStorage({ storePath });
    const kept = await settled(
      second,
      second.save({ projectId: 'p', generationId: 'kept', files: { a: 'kept' } }),
    );
    await second.close();
    await rename(join(storePath, 'aside'), lost.path);
    onCatalog(storePath, (catalog) =>
      catalog.exec(`update meta set value = 'another boot' where key = 'scanned_boot'`),
    );

    const problems: { code?: string }[] = [];
    const third = await openTestStorage({
      storePath,
      onProblem: (error) => problems.push(error as { code: string }),
    });
    expect(await third.scanned(10_000)).toBe(true);
    expect(problems).toMatchObject([{ code: 'conflict' }]);
    expect(await third.show(kept)).toMatchObject({ generationId: 'kept', digest: kept.digest });
    expect(existsSync(join(lost.path, 'archive.tar.gz'))).toBe(true);
  });

  test('a generation damaged beyond repair keeps no other from being served', async () => {
    const storePath = await tempFolder();
    const first = await openTestStorage({ storePath, background: false });
    const bad = await settled(first, first.save({ projectId: 'p', files: FILES }));
    const good = await first.save({ projectId: 'p', files: FILES });
    await first.close();
    truncateSync(join(bad.path, 'archive.tar.gz'), 10);
    onCatalog(storePath, (catalog) =>
      catalog.exec(`update meta set value = 'another boot' where key = 'scanned_boot'`),
    );
    const problems: { code?: string }[] = [];
    const second = await openTestStorage({
      storePath,
      onProblem: (error) => problems.push(error as { code: string }),
    });
    expect(await second.scanned(10_000)).toBe(true);
    // Nobody has looked into it yet.
    expect(problems).toEqual([]);
    expect(readTree((await second.get(good)).sourcePath)).toEqual(EXPECTED);
    await expect(second.get(bad)).rejects.toMatchObject({ code: 'corrupt' });
  });
});

test.each([
  ['forward', 'new', true],
  ['back', 'old', false],
])('a replacement that ended between its renames is finished %s', async (_, left, keepsNew) => {
  const storePath = await tempFolder();
  const first = await openTestStorage({ storePath });
  const ref = { projectId: 'p', version: 1, generationId: 'g' };
  const old = await first.save({ ...ref, files: { a: 'old' } });
  const other = await first.save({ ...ref, version: 2, files: { a: 'new' } });
  await first.close();
  const staging = join(storePath, '.codebegen-storage/staging/gone');
  const [staged, away] = [join(staging, 'staged'), join(staging, 'old')];
  mkdirSync(staging, { recursive: true });
  await rename(old.path, away);
  if (keepsNew) await rename(other.path, staged);
  await writeFiles(join(storePath, '.codebegen-storage/replacing'), {
    'p__v1__g.json': JSON.stringify({ ref, staged, old: away }),
  });
  const second = await openTestStorage({ storePath });
  expect((await second.get(ref)).sourcePath).toBe(join(old.path, 'source'));
  expect(readTree(join(old.path, 'source'))).toEqual({ a: Buffer.from(left) });
});

test('a generation that is deleted while it is uploaded is gone from the cloud in the end', async () => {
  const bucket = uniqueId('bucket');
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storage = await openTestStorage({ cloud: { ...testCloud(bucket), url: proxy.url } });
  let deleting: Promise<unknown> | null = null;
  let receipt: Receipt | null = null;
  proxy.rule = (method, path) => {
    if (method === 'POST' && path.startsWith(`/storage/v1/object/${bucket}/`)) {
      deleting ??= storage.delete(receipt!);
    }
    return null;
  };
  receipt = await settled(
    storage,
    storage.save({ projectId: uniqueId(), generationId: 'g', files: FILES }),
  );
  while (deleting === null) await storage.drain(100);
  await deleting;
  await storage.drain();
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  // What was recorded before is kept for a while.
  expect(await keysOf(bucket, receipt.projectId)).toEqual([]);
  const rows = await serviceClient()
    .from('storage_generations')
    .select('status')
    .eq('project_id', receipt.projectId);
  expect(rows.data).toEqual([{ status: 'deleted' }]);
});

describe('an owner', () => {
  test('other than the project’s parks the save, on the same host too', async () => {
    const [ada, grace] = [await makeUser(), await makeUser()];
    const storage = await openTestStorage({ cloud: testCloud(uniqueId('bucket')) });
    const projectId = uniqueId();
    const hers = await storage.save({ projectId, ownerId: ada.id, files: { a: '1' } });
    await waitForStatus(storage, hers, 'verified');
    const other = await storage.save({ projectId, ownerId: grace.id, files: { a: 'of grace' } });
    await storage.drain();
    expect(await storage.show(other)).toMatchObject({
      status: 'failed',
      failure: expect.stringContaining('another owner'),
    });
  });

  test('is not set by a save that is refused', async () => {
    const storage = await openTestStorage();
    const [ada, grace] = [await makeUser(), await makeUser()];
    const refused = storage.save({ projectId: 'p', ownerId: ada.id, files: { '../x': '1' } });
    await expect(refused).rejects.toMatchObject({ code: 'invalid_input' });
    await storage.save({ projectId: 'p', ownerId: grace.id, files: { a: '1' } });
    expect((await storage.listProjects()).items).toMatchObject([{ ownerId: grace.id }]);
  });
});

test('an eTag that is no MD5 is no conflict: the bytes are read back', async () => {
  const bucket = uniqueId('bucket');
  const storePath = await tempFolder();
  const writer = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const receipt = await settled(writer, writer.save({ projectId: uniqueId(), files: FILES }));
  await waitForStatus(writer, receipt, 'verified');
  await writer.close();
  // As after a crash between the upload and its record, on storage of another kind.
  for (const table of ['storage_manifests', 'storage_generations']) {
    const { error } = await serviceClient()
      .from(table)
      .delete()
      .eq('project_id', receipt.projectId);
    expect(error).toBeNull();
  }
  onCatalog(storePath, (catalog) => {
    catalog.exec(`update generations set status = 'pending'`);
    catalog.exec(
      `insert into jobs (project_id, version, step, since, due_at) values ('${receipt.projectId}', 1, 'reserve', 0, 0)`,
    );
  });
  const objects = serviceClient().storage.from(bucket);
  const key = `${receipt.projectId}/generations/v1__${receipt.generationId}.tar.gz`;
  const { data: before } = await objects.info(key);
  expect(before).toMatchObject({ size: receipt.archiveBytes });
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const body = {
    size: receipt.archiveBytes,
    etag: '"abc-2"',
    metadata: { sha256: receipt.sha256 },
  };
  proxy.rule = any(
    (_, path) => (path.includes('/object/info/') ? { kind: 'answer', status: 200, body } : null),
    // What the database says where it has no MD5 to compare with.
    first(1, /storage_record_generations/, {
      kind: 'answer',
      status: 200,
      body: [
        {
          ...{ project_id: receipt.projectId, version: 1 },
          ...{ outcome: 'recorded', status: 'uploaded', unneeded: [] },
        },
      ],
    }),
  );
  const second = await openTestStorage({
    storePath,
    cloud: { ...testCloud(bucket), url: proxy.url },
  });
  await waitForStatus(second, receipt, 'verified');
  // What was sent to where something is was refused.
  expect((await objects.info(key)).data).toEqual(before);
  expect(
    proxy.seen.filter((line) => /^GET \/storage\/v1\/object\/bucket-/.test(line)),
  ).toHaveLength(1);
});

test('a listener that throws does not end the process', async () => {
  const storage = await openTestStorage({
    cloud: { ...testCloud('b'), url: 'http://127.0.0.1:1' },
    onProblem: () => {
      throw new Error('mine');
    },
  });
  await storage.save({ projectId: 'p', files: { a: '1' } });
  await storage.drain();
  expect((await storage.status()).outbox).toMatchObject({ owed: 1 });
});

test('the store is no part of a folder that is reached through a link', async () => {
  const folder = await tempFolder();
  const link = join(await tempFolder(), 'link');
  await writeFiles(folder, { 'a.txt': 'a' });
  await symlink(folder, link);
  const storage = await openTestStorage({ storePath: join(folder, 'data') });
  await storage.save({ projectId: 'other', files: { secret: 'x' } });
  const receipt = await settled(storage, storage.saveFolder({ folder: link, projectId: 'p' }));
  expect((await storage.get(receipt)).manifest.files).toEqual(['a.txt']);
});

/** Every file of the tree is there and empty: what ext4 leaves of a file that was not synced. */
test('a replacement that could not be noted at a start is noted at the next', async () => {
  const storePath = await tempFolder();
  const ref = { projectId: 'p', version: 1, generationId: 'g' };
  const before = await openTestStorage({ storePath, background: false });
  const old = await before.save({ ...ref, files: { a: 'old' } });
  await before.close({ drainMs: 0 });
  const elsewhere = await openTestStorage({ background: false });
  const other = await elsewhere.save({ ...ref, files: { a: 'new' } });
  // As a process leaves it that was killed between the swap and the row.
  const own = join(storePath, '.codebegen-storage');
  mkdirSync(join(own, 'staging/dead'), { recursive: true });
  mkdirSync(join(own, 'replacing'), { recursive: true });
  await rename(old.path, join(own, 'staging/dead/old'));
  cpSync(other.path, old.path, { recursive: true });
  const journal = { ref, staged: 'dead/staged', old: 'dead/old' };
  writeFileSync(join(own, 'replacing/one.json'), JSON.stringify(journal));
  const rows = openCatalog(storePath);
  rows.exec("update generations set instance_id = 'dead', status = 'verified'; delete from jobs");
  // The catalog takes no such change now.
  rows.exec(`create trigger full before update of digest on generations
    begin select raise(abort, 'not now'); end`);
  const problems: unknown[] = [];
  const onProblem = (error: unknown) => problems.push(error);
  const options = { storePath, background: false, onProblem };
  const failing = await openTestStorage(options).catch((error: unknown) => {
    problems.push(error);
    return null;
  });
  await failing?.close({ drainMs: 0 });
  expect(problems).not.toEqual([]);
  rows.exec('drop trigger full');
  rows.close();
  const after = await openTestStorage({ storePath, background: false });
  expect((await after.show(ref)).digest).toBe(other.digest);
  expect((await after.status()).outbox.owed).toBe(1);
});

test('what deflates very well is made again from its archive all the same', async () => {
  const storePath = await tempFolder();
  const before = await openTestStorage({ storePath, background: false });
  const zeros = Buffer.alloc(80 * 1024 * 1024);
  const receipt = await settled(
    before,
    before.save({ projectId: 'p', files: { 'db.sqlite': zeros } }),
  );
  await before.get(receipt);
  await before.close({ drainMs: 0 });
  truncateSync(join(receipt.path, 'source/db.sqlite'), 10);
  forgetBoot(receipt);
  onCatalog(storePath, (catalog) =>
    catalog.exec(`update meta set value = 'another boot' where key = 'scanned_boot'`),
  );
  const after = await openTestStorage({ storePath, background: false });
  const { sourcePath } = await after.get(receipt);
  expect((await readFile(join(sourcePath, 'db.sqlite'))).equals(zeros)).toBe(true);
});

test('one project that cannot be read keeps the store from nothing', async () => {
  const storePath = await tempFolder();
  await symlink('loop', join(storePath, 'loop'));
  const problems: unknown[] = [];
  const storage = await openTestStorage({ storePath, onProblem: (error) => problems.push(error) });
  expect(await storage.scanned(10_000)).toBe(true);
  expect(problems).toHaveLength(1);
  expect(await storage.save({ projectId: 'p', files: { a: '1' } })).toMatchObject({ version: 1 });
});

/** As it is after a power loss: the tree was laid out by another run of the machine. */
function forgetBoot({ path }: Pick<Receipt, 'path'>): void {
  const file = join(path, 'tree.json');
  const tree = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...tree, boot: 'another' }));
}

function loseTree({ path }: Receipt): void {
  for (const file of Object.keys(FILES)) truncateSync(join(path, 'source', file), 0);
  truncateSync(join(path, 'manifest.json'), 0);
}

function onCatalog(storePath: string, change: (catalog: DatabaseSync) => void): void {
  const catalog = openCatalog(storePath);
  change(catalog);
  catalog.close();
}
