/** Links to archives that can be ended: whoever has one downloads, until it is ended, for everybody. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { allItems, type Client, createClient } from '../../functions/client/index.ts';
import { makeUser, serviceClient, type TestUser, uniqueId, userClient } from '../support/cloud.ts';
import { asUser, callGateway } from '../support/edge.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { quiet } from '../support/two-hosts.ts';

const BUCKET = 'codebegen-projects';
const FILES = { 'a.py': 'one\n', 'ü/b.txt': 'ü' };

let owner: TestUser;
let stranger: TestUser;
let client: Client;
const clientOf = (user: TestUser) =>
  createClient(inject('stack').SUPABASE_URL, async () => user.token);

beforeAll(async () => {
  [owner, stranger] = [await makeUser(), await makeUser()];
  client = clientOf(owner);
});

async function makeLink(options: { format?: 'tar.gz' | 'zip'; expiresIn?: number } = {}) {
  const project = uniqueId();
  const receipt = await saveToCloud({
    projectId: project,
    version: 1,
    ownerId: owner.id,
    files: FILES,
  });
  const made = await client.downloadGeneration(project, 1, { revocable: true, ...options });
  return { project, receipt, ...made, id: made.link! };
}

const follow = (url: string, method = 'GET') => fetch(url, { method, redirect: 'manual' });
const linksOf = async (project: string) => (await client.listLinks({ project })).items;
const code = async (answer: Response) => [answer.status, (await answer.json()).code];

test.each(['tar.gz', 'zip'] as const)(
  'a link to the %s leads to it, and counts',
  async (format) => {
    const { project, url, id, receipt, ...made } = await makeLink({ format });
    expect(url).toBe(`${inject('stack').SUPABASE_URL}/functions/v1/generations/links/${id}`);
    if (format === 'tar.gz') expect(made.sha256).toBe(receipt.sha256);
    const answer = await follow(url);
    expect(answer.status).toBe(302);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    expect(await answer.text()).toBe('');
    const location = answer.headers.get('location')!;
    const token = new URL(location).searchParams.get('token')!;
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());
    expect(exp * 1000 - Date.now()).toBeLessThanOrEqual(31_000);
    const bytes = Buffer.from(await (await fetch(location)).arrayBuffer());
    expect(bytes.subarray(0, 2).toString('hex')).toBe(format === 'zip' ? '504b' : '1f8b');
    // A browser follows it, with what else it sends.
    expect((await fetch(url, { headers: { range: 'bytes=0-9' } })).ok).toBe(true);
    expect((await follow(url, 'HEAD')).status).toBe(302);
    const [link] = await linksOf(project);
    expect(link).toMatchObject({ id, url, project_id: project, version: 1, format, downloads: 2 });
    expect(Date.now() - Date.parse(link!.last_download_at!)).toBeLessThan(60_000);
    const days = (await client.showUsageHistory({ days: 1 })).days;
    expect(days[0]!.downloads).toBeGreaterThanOrEqual(2);
  },
);

test('ended, it leads nowhere, for nobody; to end it again is no error', async () => {
  const { project, url, id } = await makeLink();
  expect(await client.endLink(id)).toEqual({ id, ended: true });
  const answer = await follow(url);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('location')).toBeNull();
  expect(await code(answer)).toEqual([404, 'not_found']);
  expect(await linksOf(project)).toEqual([]);
  expect(await client.endLink(id)).toEqual({ id, ended: false });
});

describe('what ends it', () => {
  test.each<[string, (project: string) => PromiseLike<unknown>]>([
    ['the generation is deleted', (project) => client.deleteGeneration(project, 1)],
    [
      'the generation is deleted and undeleted',
      async (project) => {
        await client.deleteGeneration(project, 1);
        await client.undeleteGeneration(project, 1);
      },
    ],
    ['the project is deleted', (project) => client.deleteProject(project)],
    [
      'the project is deleted and undeleted',
      async (project) => {
        await client.deleteProject(project);
        await client.undeleteProject(project);
      },
    ],
    ['it is purged', (project) => client.deleteGeneration(project, 1, { purge: true })],
    [
      'the project is given to another',
      (project) =>
        serviceClient()
          .rpc('storage_set_owner', {
            ...{ p_project_id: project, p_owner_id: stranger.id, p_transfer: true },
          })
          .throwOnError(),
    ],
    [
      'the project is given away and back',
      async (project) => {
        for (const p_owner_id of [stranger.id, owner.id]) {
          const given = { p_project_id: project, p_owner_id, p_transfer: true };
          await serviceClient().rpc('storage_set_owner', given).throwOnError();
        }
      },
    ],
    [
      'its time is over',
      (project) =>
        serviceClient()
          .from('storage_links')
          .update({ expires_at: new Date(Date.now() - 1).toISOString() })
          .eq('project_id', project)
          .throwOnError(),
    ],
  ])('%s', async (_, end) => {
    const { project, url } = await makeLink();
    await end(project);
    expect(await code(await follow(url))).toEqual([404, 'not_found']);
    expect(await linksOf(project)).toEqual([]);
  });

  test('not that its content is replaced: it leads to what is there then', async () => {
    const project = uniqueId();
    const storage = await openTestStorage({ cloud: testCloud(BUCKET) });
    const ref = { projectId: project, version: 1, generationId: 'g' };
    await storage.save({ ...ref, files: { a: 'one' }, ownerId: owner.id });
    await quiet(storage);
    const { url } = await client.downloadGeneration(project, 1, { revocable: true });
    await storage.save({ ...ref, files: { a: 'two' }, replace: true });
    await quiet(storage);
    const sent = Buffer.from(await (await fetch(url)).arrayBuffer());
    const { path } = await storage.archive(ref);
    expect(sent).toEqual(await readFile(path));
  });
});

describe('another user', () => {
  test('neither sees nor ends it, nor makes one to what is not theirs', async () => {
    const { project, id, url } = await makeLink();
    const other = clientOf(stranger);
    expect((await other.listLinks({ project })).items).toEqual([]);
    await expect(other.endLink(id)).rejects.toMatchObject({ code: 'not_found' });
    const made = other.downloadGeneration(project, 1, { revocable: true });
    await expect(made).rejects.toMatchObject({ code: 'not_found' });
    expect((await follow(url)).status).toBe(302);
  });

  test('gets past the function no further', async () => {
    const { project, id } = await makeLink();
    const database = userClient(stranger);
    for (const column of ['*', 'id']) {
      expect((await database.from('storage_links').select(column)).error).not.toBeNull();
    }
    expect((await database.rpc('storage_list_links', { p_limit: 10 })).data).toEqual([]);
    expect((await database.rpc('storage_end_link', { p_id: id })).data).toBeNull();
    const followed = { p_id: id, p_is_counted: true };
    for (const asker of [database, userClient(owner)]) {
      expect((await asker.rpc('storage_follow_link', followed)).error?.code).toBe('42501');
    }
    const made = await database.rpc('storage_create_link', {
      ...{ p_project_id: project, p_version: 1, p_format: 'zip', p_expires_in: 60, p_limit: 9 },
    });
    expect(made).toMatchObject({ data: null, error: null });
    const { SUPABASE_ANON_KEY } = inject('stack');
    const anonymous = callGateway();
    const headers = { authorization: `Bearer ${SUPABASE_ANON_KEY}` };
    expect((await anonymous('GET', '/links', { headers })).status).toBe(401);
    expect((await anonymous('DELETE', `/links/${id}`, { headers })).status).toBe(401);
  });
});

test('what is asked for wrongly is told so', async () => {
  const call = asUser(callGateway(), owner);
  const { project } = await makeLink();
  const none = randomUUID();
  expect(
    await code(
      await follow(`${inject('stack').SUPABASE_URL}/functions/v1/generations/links/${none}`),
    ),
  ).toEqual([404, 'not_found']);
  expect(await code(await call('DELETE', `/links/${none}`))).toEqual([404, 'not_found']);
  for (const [method, path, body] of [
    ['GET', '/links/x'],
    ['DELETE', `/links/${none}x`],
    ['GET', '/links?cursor=x'],
    ['GET', `/links?cursor=${btoa(`2026-01-01T00:00:00+00:00 ${project}`)}`],
    ['GET', '/links?project=a/b'],
    ['POST', `/projects/${project}/1/download`, { revocable: 'yes' }],
    ['POST', `/projects/${project}/1/download`, { revocable: true, expires_in: 0 }],
  ] as const) {
    expect(await code(await call(method, path, body)), path).toEqual([400, 'invalid_input']);
  }
  const other = await call('POST', `/projects/${project}/1/download?generation=x`, {
    revocable: true,
  });
  expect(await code(other)).toEqual([404, 'not_found']);
  await putGeneration({ projectId: project, version: 2, ownerId: owner.id, status: 'pending' });
  for (const format of ['tar.gz', 'zip']) {
    const early = await call('POST', `/projects/${project}/2/download`, {
      revocable: true,
      format,
    });
    expect(await code(early)).toEqual([409, 'conflict']);
  }
  expect(await linksOf(project)).toHaveLength(1);
});

test('they are listed page by page, newest first', async () => {
  const { project, id } = await makeLink();
  const ids = [id];
  for (let n = 0; n < 4; n++) {
    ids.unshift((await client.downloadGeneration(project, 1, { revocable: true })).link!);
  }
  const listed = [];
  const pages = allItems((cursor) =>
    client.listLinks({ project, limit: 2, ...(cursor === undefined ? {} : { cursor }) }),
  );
  for await (const link of pages) listed.push(link.id);
  expect(listed).toEqual(ids);
});

test('a user has so many; those that are over make room', async () => {
  const user = await makeUser();
  const mine = clientOf(user);
  const project = uniqueId();
  await saveToCloud({ projectId: project, version: 1, ownerId: user.id, files: FILES });
  const { link } = await mine.downloadGeneration(project, 1, { revocable: true });
  const links = serviceClient().from('storage_links');
  const [row] = (await links.select('*').eq('id', link!).throwOnError()).data!;
  const more = Array.from({ length: 999 }, () => ({ ...row, id: randomUUID() }));
  await serviceClient().from('storage_links').insert(more).throwOnError();
  const tooMany = mine.downloadGeneration(project, 1, { revocable: true });
  await expect(tooMany).rejects.toMatchObject({
    code: 'too_large',
    message: expect.stringContaining('you have 1000 links, which is the limit. End some'),
  });
  const over = { expires_at: new Date(Date.now() - 1000).toISOString() };
  const { id } = more[0]!;
  await serviceClient().from('storage_links').update(over).eq('id', id).throwOnError();
  expect((await mine.downloadGeneration(project, 1, { revocable: true })).link).not.toBeNull();
});

test('whoever has the secret key sees and ends those to a generation, whoever made them', async () => {
  const storage = await openTestStorage({ cloud: testCloud(BUCKET) });
  const [{ project, url, id }, elsewhere] = [await makeLink(), await makeLink()];
  const older = await client.downloadGeneration(project, 1, { revocable: true });
  const of = { projectId: project, version: 1 };
  await follow(url);
  const listed = await storage.links.list(of);
  const nameOf = (whole: string) => whole.slice(0, 13);
  expect(listed.map(({ name, downloads }) => [name, downloads])).toEqual([
    [nameOf(older.link!), 0],
    [nameOf(id), 1],
  ]);
  // Who sees it cannot follow it.
  expect(JSON.stringify(listed)).not.toContain(id);
  expect(await storage.links.list({ ...of, version: 2 })).toEqual([]);
  expect(await storage.links.end(of, nameOf(id))).toBe(true);
  expect(await storage.links.end(of, nameOf(id))).toBe(false);
  expect((await follow(url)).status).toBe(404);
  expect((await storage.links.list(of)).map(({ name }) => name)).toEqual([nameOf(older.link!)]);
  for (const other of [elsewhere.id, randomUUID()]) {
    await expect(storage.links.end(of, nameOf(other))).rejects.toMatchObject({ code: 'not_found' });
  }
  expect((await follow(elsewhere.url)).status).toBe(302);
});
