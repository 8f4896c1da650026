/** A start that has to read the disk into the catalog: nobody sees what it has not come to. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const PROJECTS = Array.from({ length: 30 }, (_, i) => `p${String(i).padStart(2, '0')}`);

/** A store of {@link PROJECTS} with two versions each, whose catalog is lost. */
async function loseCatalog(): Promise<string> {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath, background: false });
  for (const projectId of PROJECTS) {
    for (const text of ['1', '2']) await storage.save({ projectId, files: { a: text } });
  }
  await storage.close();
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(join(storePath, `.codebegen-storage/catalog.sqlite${suffix}`), { force: true });
  }
  return storePath;
}

const last = PROJECTS.at(-1)!;

test('a project is listed, shown, got and given an owner as if all were read', async () => {
  const storePath = await loseCatalog();
  const storage = await openTestStorage({ storePath });
  expect((await storage.list(last)).items.map(({ version }) => version)).toEqual([2, 1]);

  const shown = await openTestStorage({ storePath: await loseCatalog() });
  expect(await shown.show({ projectId: last, version: 2 })).toMatchObject({ fileCount: 1 });

  const owned = await openTestStorage({ storePath: await loseCatalog() });
  const ownerId = '00000000-0000-4000-8000-000000000001';
  expect(await owned.setOwner(last, ownerId)).toBe(true);
});

test('a save gets the next version, and none in a name that differs only in case', async () => {
  const storage = await openTestStorage({ storePath: await loseCatalog() });
  const [taken, refused] = await Promise.allSettled([
    storage.save({ projectId: last, files: { a: '3' } }),
    storage.save({ projectId: last.toUpperCase(), files: { a: '3' } }),
  ]);
  expect(taken).toMatchObject({ value: { version: 3, created: true } });
  expect(refused).toMatchObject({ reason: { code: 'conflict' } });
});

test('the list of projects has no gap, on any page', async () => {
  const storage = await openTestStorage({ storePath: await loseCatalog() });
  const seen: string[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page = await storage.listProjects({ limit: 7, cursor });
    seen.push(...page.items.map(({ projectId }) => projectId));
    expect(page.items.every(({ versions }) => versions === 2)).toBe(true);
    cursor = page.nextCursor;
  }
  expect(seen).toEqual(PROJECTS);
});

test('the status tells how far it is, and what is told at the end is all', async () => {
  const storage = await openTestStorage({ storePath: await loseCatalog() });
  expect((await storage.status()).scan).not.toBeNull();
  expect(await storage.scanned(60_000)).toBe(true);
  expect(await storage.status()).toMatchObject({ scan: null, generations: { local: 60 } });
});

test('verify waits for all of it', async () => {
  const storage = await openTestStorage({ storePath: await loseCatalog() });
  let count = 0;
  for await (const { problems } of storage.verify()) {
    expect(problems).toEqual([]);
    count++;
  }
  expect(count).toBe(60);
});

test('closed in the middle, the next start reads what is left', async () => {
  const storePath = await loseCatalog();
  const problems: unknown[] = [];
  const onProblem = (error: unknown) => problems.push(error);
  for (const _ of [1, 2, 3]) {
    const storage = await openTestStorage({ storePath, onProblem });
    await storage.list(last);
    await storage.close({ drainMs: 0 });
  }
  expect(problems).toEqual([]);
  const storage = await openTestStorage({ storePath });
  expect(await storage.scanned(60_000)).toBe(true);
  expect((await storage.status()).generations).toEqual({ local: 60 });
});

test('what another process deletes meanwhile stays deleted', async () => {
  const storePath = await loseCatalog();
  const problems: unknown[] = [];
  const onProblem = (error: unknown) => problems.push(error);
  const [one, other] = await Promise.all([
    openTestStorage({ storePath, onProblem }),
    openTestStorage({ storePath, onProblem }),
  ]);
  // From both ends: in the middle they meet.
  for (const projectId of PROJECTS.toReversed()) {
    await other.delete({ projectId, version: 1 });
  }
  expect(await one.scanned(60_000)).toBe(true);
  expect(problems).toEqual([]);
  for (const projectId of PROJECTS) {
    expect((await one.list(projectId)).items.map(({ version }) => version)).toEqual([2]);
  }
});
