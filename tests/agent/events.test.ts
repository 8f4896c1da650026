/** What is told of what happens: to whoever listens, and in the log. */

import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Catalog } from '../../node-agent/catalog/catalog.ts';
import { EVENT_LEVELS } from '../../node-agent/daemon/log.ts';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import { createTell } from '../../node-agent/events/tell.ts';
import { EventFeed } from '../../node-agent/read/event-feed.ts';
import { makeUser, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { ROOT } from '../support/run.ts';
import {
  openTestStorage,
  settled,
  testCache,
  testCloud,
  waitForStatus,
} from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const FILES = { 'a.txt': 'a', b: 'bb' };

test('each event says which generation it is about, whose that is, and when', async () => {
  const { id: ownerId } = await makeUser();
  const events: StorageEvent[] = [];
  let clock = Date.parse('2026-01-01T00:00:00Z');
  const storage = await openTestStorage({
    cloud: testCloud(uniqueId('bucket')),
    cache: await testCache({ maxAgeMs: 1 }),
    now: () => clock,
    onEvent: (event) => events.push(event),
  });
  const projectId = uniqueId('project');
  const saved = await settled(storage, storage.save({ projectId, ownerId, files: FILES }));
  await waitForStatus(storage, saved, 'verified');
  await storage.get(saved);
  rmSync(saved.path, { recursive: true });
  await storage.get(saved);
  clock += 86_400_000;
  await storage.cleanupCache();
  await storage.delete(saved);

  const { version, generationId } = saved;
  const about = { projectId, version, generationId, ownerId, at: '2026-01-01T00:00:00.000Z' };
  const requestId = null;
  const got = { kind: 'generation.read', ...about, files: 2, bytes: 3 };
  const ms = expect.any(Number);
  const { digest, sha256 } = saved;
  const bytes = saved.archiveBytes;
  const archive = { digest, sha256, bytes };
  expect(events).toEqual([
    {
      ...{ kind: 'generation.saved', ...about, requestId },
      ...{ digest, files: 2, bytes: 3, replaced: false, ms },
    },
    { kind: 'generation.settled', ...about, requestId, ...archive },
    { kind: 'generation.uploaded', ...about, requestId, ...archive, ms },
    { kind: 'generation.verified', ...about, requestId, ...archive },
    { ...got, from: 'store' },
    { ...got, from: 'cloud' },
    {
      kind: 'store.evicted',
      at: '2026-01-02T00:00:00.000Z',
      from: 'cache',
      generations: 1,
      bytes: expect.any(Number),
    },
    {
      ...{ kind: 'generation.deleted', ...about, requestId },
      ...{ at: '2026-01-02T00:00:00.000Z', digest, where: 'here' },
    },
  ]);
});

test('a problem in the background is an event, told with its attempt', async () => {
  const events: StorageEvent[] = [];
  const problems: unknown[] = [];
  const storage = await openTestStorage({
    cloud: { url: 'http://127.0.0.1:1', key: 'sb_secret_x', bucket: 'b' },
    onEvent: (event) => {
      events.push(event);
      throw new Error('a listener that throws');
    },
    onProblem: (error) => problems.push(error),
  });
  const { projectId, version } = await storage.save({ projectId: 'p', files: FILES });
  await storage.drain(5000);
  const [problem] = problems as Error[];
  const about = { at: expect.any(String), code: 'unavailable' };
  expect(events).toContainEqual({ kind: 'problem', ...about, reason: problem!.message });
  expect(events).toContainEqual({
    ...{ kind: 'attempt.failed', ...about, projectId, version, ownerId: null },
    ...{ step: 'reserve', givenUp: false },
  });
});

test('the log has a line for each, with what it is about, in the words of the wire', async () => {
  const { daemon } = await startDaemon({ LOG_LEVEL: 'debug' });
  const save = await fetch(`${daemon.url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ project_id: 'p', generation_id: 'g', files: FILES }),
  });
  expect(save.status).toBe(201);
  await fetch(`${daemon.url}/v1/projects/p/1`, { method: 'DELETE' });
  daemon.child.kill('SIGTERM');
  await once(daemon.child, 'close');
  const lines = daemon
    .output()
    .stderr.trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const about = { project_id: 'p', version: 1, generation_id: 'g', owner_id: null };
  expect(lines).toContainEqual(
    expect.objectContaining({
      level: 'debug',
      event: 'generation.saved',
      ...about,
      files: 2,
      bytes: 3,
    }),
  );
  expect(lines).toContainEqual(
    expect.objectContaining({ level: 'info', event: 'generation.deleted', ...about }),
  );
});

test('docs/operations.md has each event, with its level', () => {
  const text = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `(warn|info|debug)` +\|(.*)\|$/gm)].flatMap(
    ([, level, kinds]) => [...kinds!.matchAll(/`([\w.]+)`/g)].map(([, kind]) => [kind, level]),
  );
  const { code, ...levels } = Object.fromEntries(documented);
  expect(code).toBe('warn');
  expect(levels).toEqual(EVENT_LEVELS);
});

test('what is told in a transaction is kept with it, or is not told at all', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.db'));
  onTestFinished(() => catalog.close());
  const heard: string[] = [];
  const tell = createTell(({ kind }) => heard.push(kind), { now: () => 0, keeper: () => catalog });
  const fail = () =>
    catalog.transaction(() => {
      tell({ kind: 'cloud.back' });
      throw new TypeError('as it was thrown');
    });
  expect(fail).toThrow('as it was thrown');
  expect([heard, catalog.events.after(0, 10)]).toEqual([[], []]);

  catalog.transaction(() => {
    tell({ kind: 'cloud.back' });
    // What is not committed may never be.
    expect(heard).toEqual([]);
  });
  tell({ kind: 'cloud.older' });
  tell({ kind: 'problem', code: 'internal', reason: 'x' });
  expect(heard).toEqual(['cloud.back', 'cloud.older', 'problem']);
  const kept = catalog.events.after(0, 10).map(({ kind, body }) => [kind, JSON.parse(body)]);
  const at = '1970-01-01T00:00:00.000Z';
  expect(kept).toEqual(
    ['cloud.back', 'cloud.older'].map((kind) => [kind, { kind, at, request_id: null }]),
  );
});

test('the last ten thousand are kept; who comes from before is told that some are gone', async () => {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.db'));
  onTestFinished(() => catalog.close());
  const feed = new EventFeed(catalog);
  const before = feed.last();
  const add = (count: number) =>
    catalog.transaction(() => {
      for (let i = 0; i < count; i++) catalog.events.add('cloud.back', '{}');
    });
  add(10_000);
  expect(feed.after(before, 1)).toMatchObject({
    missed: false,
    events: [{ id: expect.stringMatching(/-1$/) }],
  });
  add(1000);
  const page = feed.after(before, 20_000);
  expect(page.missed).toBe(true);
  expect(page.events.length).toBe(10_000);
  expect(feed.after(page.events[0]!.id, 1).missed).toBe(false);
  const end = page.next;
  expect(feed.after(end, 1)).toEqual({ events: [], from: end, next: end, missed: false });
  // Where a listener goes on that missed some: it is told so once.
  expect(feed.after(page.from, 1)).toMatchObject({ events: [page.events[0]], missed: false });
  // A catalog that was put back gives numbers once more.
  catalog.meta.distrust('put back');
  expect(feed.after(end, 1)).toMatchObject({ missed: true, events: [{}] });
});
