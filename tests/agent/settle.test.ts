/** Between the answer and the archive: what a save laid down is one tar, and becomes a tar.gz. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { Receipt } from '../../node-agent/index.ts';
import { settleArchive } from '../../node-agent/store/settle-archive.ts';
import { openCatalog } from '../support/catalog.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { run } from '../support/run.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

type Facts = { bytes: number; digest: string };

const FILES = {
  'b/c.txt': 'c'.repeat(700_000),
  a: 'a',
  empty: '',
  [`${'long/'.repeat(40)}ä`]: 'ä',
  run: { content: '#!/bin/sh', mode: 0o755 },
};

async function saved(files: Record<string, string | { content: string; mode: number }> = FILES) {
  const storePath = await tempFolder();
  // Nothing is settled but by who asks for it.
  const storage = await openTestStorage({ storePath, background: false });
  const receipt = await storage.save({ projectId: 'p', files });
  return { storePath, storage, receipt };
}

const archivesIn = ({ path }: Receipt) =>
  readdirSync(path)
    .filter((name) => name.startsWith('archive.'))
    .sort();

test('a save lays down one tar, named after what it holds, its manifest last', async () => {
  const { storage, receipt } = await saved();
  const name = `archive.${receipt.digest.slice(0, 12)}.tar`;
  expect(archivesIn(receipt)).toEqual([name]);
  const listed = await run('tar', ['tf', join(receipt.path, name)]);
  const names = listed.stdout.trim().split('\n');
  expect(names).toHaveLength(Object.keys(FILES).length + 1);
  expect(names.at(-1)).toBe('.codebegen/manifest.json');
  const folder = await tempFolder();
  expect(await run('tar', ['xf', join(receipt.path, name), '-C', folder])).toMatchObject({
    code: 0,
    stderr: '',
  });
  const { '.codebegen/manifest.json': manifest, ...files } = readTexts(folder);
  expect(JSON.parse(manifest!)).toMatchObject({ digest: receipt.digest, version: 1 });
  expect(files).toEqual(readTexts((await storage.get(receipt)).sourcePath));
});

test('whoever asks for the archive gets it, and the tar goes', async () => {
  const { storage, receipt } = await saved();
  const all = await Promise.all(Array.from({ length: 5 }, () => storage.archive(receipt)));
  expect(new Set(all.map(({ sha256 }) => sha256)).size).toBe(1);
  expect(archivesIn(receipt)).toEqual(['archive.json', 'archive.tar.gz']);
  expect(await storage.show(receipt)).toMatchObject({
    sha256: all[0]!.sha256,
    archiveBytes: all[0]!.bytes,
  });
});

test('the next start settles what a process left', async () => {
  const { storePath, storage, receipt } = await saved();
  await storage.close();
  expect(archivesIn(receipt)[0]).toMatch(/\.tar$/);
  await openTestStorage({ storePath });
  while (!archivesIn(receipt).includes('archive.tar.gz')) await sleep(5);
  while (archivesIn(receipt).some((name) => name.endsWith('.tar'))) await sleep(5);
});

test('what ends settles first', async () => {
  const storage = await openTestStorage();
  const receipt = await storage.save({ projectId: 'p', files: FILES });
  await storage.close();
  expect(archivesIn(receipt)).toEqual(['archive.json', 'archive.tar.gz']);
});

/** What a crash, or a power loss, may leave of a settling that came nearly to its end. */
const LEFT: [string, (path: string) => void, boolean][] = [
  ['both, whole', () => {}, true],
  ['an archive that is cut off', (path) => truncateSync(join(path, 'archive.tar.gz'), 100), false],
  ['an archive that is empty', (path) => truncateSync(join(path, 'archive.tar.gz'), 0), false],
  ['nothing of what it is', (path) => truncateSync(join(path, 'archive.json'), 0), false],
  ['the archive of what it took the place of', putOther, false],
];

/** Whole in itself: a process that had lost its lock put it there. */
function putOther(path: string): void {
  const archive = gzipSync('of other content');
  const hash = (name: string) => createHash(name).update(archive).digest('hex');
  writeFileSync(join(path, 'archive.tar.gz'), archive);
  const [sha256, md5] = [hash('sha256'), hash('md5')];
  const facts = { bytes: archive.length, sha256, md5, digest: 'f'.repeat(64) };
  writeFileSync(join(path, 'archive.json'), JSON.stringify(facts));
}

test.each(LEFT)('with %s left, the archive is the right one, once', async (_, spoil, stays) => {
  const { storePath, storage, receipt } = await saved();
  const [tar] = archivesIn(receipt);
  const laidDown = readFileSync(join(receipt.path, tar!));
  const made = await storage.archive(receipt);
  await storage.close();
  const { ino } = statSync(made.path);
  writeFileSync(join(receipt.path, tar!), laidDown);
  spoil(receipt.path);

  forgetArchive(storePath);
  const again = await openTestStorage({ storePath, background: false });
  expect(await again.archive(receipt)).toMatchObject({ sha256: made.sha256, bytes: made.bytes });
  if (stays) expect(statSync(made.path).ino).toBe(ino);
  expect(archivesIn(receipt)).toEqual(['archive.json', 'archive.tar.gz']);
});

test('a byte of the tar that is another is noticed, and the archive is made of the tree', async () => {
  const { storage, receipt } = await saved();
  await storage.get(receipt);
  const path = join(receipt.path, archivesIn(receipt)[0]!);
  const tar = readFileSync(path);
  // The first of the content of the first file.
  tar.writeUInt8(tar[512]! ^ 1, 512);
  writeFileSync(path, tar);
  const problems = [];
  for await (const verified of storage.verify()) problems.push(...verified.problems);
  expect(problems).toMatchObject([{ where: 'store', reason: expect.stringContaining('archive') }]);
  const { sha256 } = await storage.archive(receipt);
  expect(archivesIn(receipt)).toEqual(['archive.json', 'archive.tar.gz']);
  const other = await openTestStorage({ background: false, now: () => createdAt });
  const createdAt = Date.parse((await storage.show(receipt)).createdAt);
  const { projectId, generationId } = receipt;
  const same = await other.save({ projectId, generationId, files: FILES });
  expect((await other.archive(same)).sha256).toBe(sha256);
});

test('two processes that settle one generation agree', async () => {
  const { storePath, storage, receipt } = await saved();
  const other = await openTestStorage({ storePath, background: false });
  const both = await Promise.all([storage.archive(receipt), other.archive(receipt)]);
  expect(both[0]).toEqual(both[1]);
  expect(archivesIn(receipt)).toEqual(['archive.json', 'archive.tar.gz']);
});

test('whoever settles without its lock leaves alone what took the place', async () => {
  const { receipt } = await saved();
  const [tar] = archivesIn(receipt);
  const scratch = join(await tempFolder(), 'scratch');
  const settling = settleArchive({ folder: receipt.path, scratch, parallel: true });
  // It reads the tar now: the folder becomes another's.
  while (!existsSync(scratch) && archivesIn(receipt).includes(tar!)) await sleep(0);
  rmSync(join(receipt.path, tar!));
  writeFileSync(join(receipt.path, 'archive.json'), 'of another');
  expect(await settling).toBeNull();
  expect(archivesIn(receipt)).toEqual(['archive.json']);
  expect(readFileSync(join(receipt.path, 'archive.json'), 'utf8')).toBe('of another');
});

test.each([
  ['the same', true],
  ['another', false],
])('an archive that came to be there while it was made, %s, stays', async (_, isSame) => {
  const { receipt, storage } = await saved();
  const [tar] = archivesIn(receipt);
  const place = join(receipt.path, 'archive.tar.gz');
  const laidDown = readFileSync(join(receipt.path, tar!));
  const { sha256 } = await storage.archive(receipt);
  const there = isSame ? readFileSync(place) : gzipSync('of another');
  rmSync(place);
  writeFileSync(join(receipt.path, tar!), laidDown);
  const scratch = join(await tempFolder(), 'scratch');
  const settling = settleArchive({ folder: receipt.path, scratch, parallel: true });
  // It is made now: another process was quicker.
  while (!existsSync(scratch)) await sleep(0);
  writeFileSync(place, there);
  expect(await settling).toEqual(isSame ? expect.objectContaining({ sha256 }) : null);
  expect(readFileSync(place).equals(there)).toBe(true);
  expect(existsSync(join(receipt.path, tar!))).toBe(!isSame);
});

test.each([
  ['another size', (facts) => ({ ...facts, bytes: facts.bytes + 1 })],
  ['another digest', (facts) => ({ ...facts, digest: 'f'.repeat(64) })],
] satisfies [string, (facts: Facts) => Facts][])(
  'an archive of which %s was written down is what its bytes say',
  async (_, lie) => {
    const { storage, receipt } = await saved();
    const { sha256 } = await storage.archive(receipt);
    const path = join(receipt.path, 'archive.json');
    writeFileSync(path, JSON.stringify(lie(JSON.parse(readFileSync(path, 'utf8')))));
    expect(await storage.archive(receipt)).toMatchObject({ sha256 });
    const { sourcePath } = await storage.get(receipt);
    expect(Object.keys(readTexts(sourcePath)).sort()).toEqual(Object.keys(FILES).sort());
  },
);

test('replaced while its upload waits to settle it, the cloud names what it has', async () => {
  const storePath = await tempFolder();
  const options = { storePath, cloud: testCloud(uniqueId('bucket')), background: false };
  const [one, other] = [await openTestStorage(options), await openTestStorage(options)];
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  await one.save({ ...ref, files: FILES });
  // Many files: staged for long enough that the upload begins meanwhile.
  const files = Object.fromEntries(Array.from({ length: 4000 }, (_, i) => [`f${i}`, `${i}`]));
  const replacing = other.save({ ...ref, files, replace: true });
  const db = openCatalog(storePath);
  const isLocked = db.prepare('select 1 from generations where instance_id is not null');
  while (isLocked.get() === undefined) await sleep(1);
  db.close();
  await one.drain(30_000);
  const { digest } = await replacing;
  await other.drain(30_000);
  const { data } = await serviceClient()
    .from('storage_generations')
    .select('digest, sha256')
    .eq('project_id', ref.projectId)
    .single();
  expect(data).toEqual({ digest, sha256: (await other.archive(ref)).sha256 });
});

/** As after a crash before the catalog noted what the archive is. */
function forgetArchive(storePath: string): void {
  const db = openCatalog(storePath);
  try {
    db.exec('update generations set sha256 = null, md5 = null, archive_bytes = null');
  } finally {
    db.close();
  }
}
