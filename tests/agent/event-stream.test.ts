/** `GET /v1/events`: what happens is heard as it happens, and after a while away. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { listen, type Told, take } from '../support/event-stream.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

const kindsOf = (told: readonly Told[]) => told.map(({ kind }) => kind);
const numberOf = ({ id }: Told) => Number(id.split('-')[1]);

function save(url: string, body: object, headers: Record<string, string> = {}) {
  return fetch(`${url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ files: { a: 'abc' }, ...body }),
  });
}

test('those that happened last are told first where it is asked for', async () => {
  const { daemon } = await startDaemon();
  for (const a of ['1', '2', '3']) await save(daemon.url, { project_id: 'p', files: { a } });
  const told = await listen(
    `${daemon.url}/v1/events?recent=2&kinds=generation.saved,generation.settled`,
  );
  const [open, ...recent] = await take(told, 3);
  expect([open?.kind, recent.length]).toEqual(['events.open', 2]);
  const all = await listen(`${daemon.url}/v1/events?recent=100&kinds=generation.saved`);
  expect((await take(all, 4)).slice(1).map(({ data }) => data.version)).toEqual([1, 2, 3]);
  expect((await fetch(`${daemon.url}/v1/events?recent=101`)).status).toBe(400);
});

test('each step of a generation, in its order: saved, settled, uploaded, failed, healed, deleted', async () => {
  const stack = inject('stack');
  const proxy = await startFaultProxy(stack.SUPABASE_URL);
  const { daemon } = await startDaemon({
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: proxy.url,
    SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: uniqueId('bucket'),
  });
  const told = await listen(`${daemon.url}/v1/events`);
  expect(told.answer.headers.get('content-type')).toBe('text/event-stream');
  expect(kindsOf(await take(told, 1))).toEqual(['events.open']);

  const project = uniqueId();
  const saved = await save(
    daemon.url,
    { project_id: project, generation_id: 'g' },
    {
      'x-request-id': 'my-request',
    },
  );
  const receipt = await saved.json();
  const first = await take(told, 4);
  expect(kindsOf(first)).toEqual([
    'generation.saved',
    'generation.settled',
    'generation.uploaded',
    'generation.verified',
  ]);
  const about = { project_id: project, version: 1, generation_id: 'g', owner_id: null };
  for (const { data } of first) {
    expect(data).toMatchObject({
      ...about,
      digest: receipt.digest,
      at: expect.stringMatching(/Z$/),
    });
  }
  expect(first[0]!.data).toMatchObject({ request_id: 'my-request', files: 1, bytes: 3 });
  expect(first[1]!.data).toMatchObject({ request_id: null, sha256: first[3]!.data.sha256 });

  // What is refused for good takes somebody to look.
  proxy.rule = (method, path) =>
    method === 'POST' && path.startsWith('/storage/v1/object/')
      ? { kind: 'answer', status: 400, body: { statusCode: '413' } }
      : null;
  await save(daemon.url, { project_id: project, generation_id: 'h' });
  const second = await take(told, 3);
  expect(kindsOf(second)).toEqual(['generation.saved', 'generation.settled', 'generation.failed']);
  expect(second[2]!.data).toMatchObject({
    generation_id: 'h',
    step: 'upload',
    reason: expect.any(String),
  });
  proxy.rule = () => null;
  await fetch(`${daemon.url}/v1/uploads/retry`, { method: 'POST' });
  expect(kindsOf(await take(told, 2))).toEqual(['generation.uploaded', 'generation.verified']);

  await fetch(`${daemon.url}/v1/projects/${project}/1`, {
    method: 'DELETE',
    headers: { 'x-request-id': 'my-deletion' },
  });
  const [deleted] = await take(told, 1);
  expect(deleted).toMatchObject({
    kind: 'generation.deleted',
    data: { ...about, where: 'here', request_id: 'my-deletion' },
  });
});

test('who was away hears what it missed, by the id of what it heard last', async () => {
  const { daemon } = await startDaemon();
  const url = `${daemon.url}/v1/events`;
  const [open] = await take(await listen(url), 1);
  for (const project_id of ['a', 'b', 'c']) await save(daemon.url, { project_id });
  const all = await listen(`${url}?kinds=generation.saved`, { 'last-event-id': open!.id });
  const [, ...saves] = await take(all, 4);
  expect(saves.map(({ data }) => data.project_id)).toEqual(['a', 'b', 'c']);
  expect(saves.map(numberOf)).toEqual(saves.map(numberOf).toSorted((a, b) => a - b));

  const rest = await listen(`${url}?kinds=generation.saved&last_event_id=${saves[1]!.id}`);
  expect((await take(rest, 2)).map(({ data }) => data.project_id)).toEqual([undefined, 'c']);
  const one = await listen(`${url}?project=b&last_event_id=${open!.id}`);
  const ofB = await take(one, 2);
  expect(ofB.map(({ kind }) => kind)).toEqual(['events.open', 'generation.saved']);
  expect(ofB[1]!.data.project_id).toBe('b');
});

test('of an id that nobody knows all that is kept is told, after that some may be missing', async () => {
  const { daemon } = await startDaemon();
  await save(daemon.url, { project_id: 'p' });
  for (const id of ['00000000-1', 'garbage', '-', 'x'.repeat(10_000)]) {
    const told = await listen(`${daemon.url}/v1/events?kinds=generation.saved`, {
      'last-event-id': id,
    });
    expect(kindsOf(await take(told, 3))).toEqual([
      'events.open',
      'events.missed',
      'generation.saved',
    ]);
  }
});

test('a catalog that was made again counts anew: who goes on from the old one is told', async () => {
  const first = await startDaemon();
  await save(first.daemon.url, { project_id: 'p' });
  const [, , saved] = await take(
    await listen(`${first.daemon.url}/v1/events?last_event_id=none&kinds=generation.saved`),
    3,
  );
  first.daemon.child.kill('SIGTERM');
  await once(first.daemon.child, 'close');
  for (const file of ['catalog.sqlite', 'catalog.sqlite-wal', 'catalog.sqlite-shm']) {
    rmSync(join(first.storePath, '.codebegen-storage', file), { force: file !== 'catalog.sqlite' });
  }
  const { daemon } = await startDaemon({ FILE_STORAGE_PATH: first.storePath });
  const told = await listen(`${daemon.url}/v1/events`, { 'last-event-id': saved!.id });
  expect(kindsOf(await take(told, 2))).toEqual(['events.open', 'events.missed']);
});

test('what a command does while the daemon runs is heard too, within a second', async () => {
  const { daemon, storePath } = await startDaemon();
  const told = await listen(`${daemon.url}/v1/events?kinds=generation.saved`);
  await take(told, 1);
  const folder = await tempFolder();
  await writeFiles(folder, { a: 'a' });
  const ran = await runCli(['save', folder, '--project', 'p'], { FILE_STORAGE_PATH: storePath });
  const ended = performance.now();
  expect(ran.code).toBe(0);
  const [saved] = await take(told, 1);
  expect(performance.now() - ended).toBeLessThan(1000);
  expect(saved!.data).toMatchObject({ project_id: 'p', request_id: null });
});

test('it needs the token where there is one', async () => {
  const { daemon } = await startDaemon({ AGENT_TOKEN: 'a-token-that-nobody-guesses' });
  const url = `${daemon.url}/v1/events`;
  expect((await fetch(url)).status).toBe(401);
  const authorization = 'Bearer a-token-that-nobody-guesses';
  expect(kindsOf(await take(await listen(url, { authorization }), 1))).toEqual(['events.open']);
});

test.each([
  ['kinds=generation.saved,nothing', 'generation.verified'],
  ['project=../x', 'project id'],
])('%s is refused, and says what there is', async (query, named) => {
  const { daemon } = await startDaemon();
  const answer = await fetch(`${daemon.url}/v1/events?${query}`);
  expect(answer.status).toBe(400);
  expect((await answer.json()).detail).toContain(named);
});

test('sixty-four listen at once, no more; one that goes makes room', async () => {
  const { daemon } = await startDaemon();
  const url = `${daemon.url}/v1/events`;
  const leaving = new AbortController();
  const all = await Promise.all([
    fetch(url, { signal: leaving.signal }),
    ...Array.from({ length: 63 }, () => listen(url).then(({ answer }) => answer)),
  ]);
  expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]));
  const refused = await fetch(url);
  expect([refused.status, (await refused.json()).detail]).toEqual([
    503,
    expect.stringContaining('64'),
  ]);
  leaving.abort();
  await expect
    .poll(async () => {
      const gone = new AbortController();
      const { status } = await fetch(url, { signal: gone.signal });
      gone.abort();
      return status;
    })
    .toBe(200);
});

test('a daemon that is stopped ends its streams, and does not wait for who listens', async () => {
  const { daemon } = await startDaemon();
  const told = await listen(`${daemon.url}/v1/events`);
  await take(told, 1);
  const began = performance.now();
  daemon.child.kill('SIGTERM');
  const [code] = await once(daemon.child, 'close');
  expect(code).toBe(0);
  expect(performance.now() - began).toBeLessThan(3000);
  expect(await take(told, 1)).toEqual([]);
});
