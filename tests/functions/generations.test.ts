/** The function `generations`, in this process and in Deno behind the gateway: the same suite. */

import { createHash } from 'node:crypto';
import { corsHeaders } from '@supabase/supabase-js/cors';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { readEnvironment } from '../../functions/_shared/environment.ts';
import { createApp } from '../../functions/generations/app.ts';
import {
  functionEnvironment,
  makeUser,
  serviceClient,
  type TestUser,
  uniqueId,
  userClient,
} from '../support/cloud.ts';
import { asUser, type Call, callInProcess, WAYS } from '../support/edge.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration } from '../support/generation.ts';

describe.each(WAYS)('%s', (_, makeCall) => {
  let call: Call;
  let owner: TestUser;
  let stranger: TestUser;
  let projectId: string;

  const as = (user: TestUser, method: string, path: string, body?: unknown) =>
    asUser(call, user)(method, path, body);

  beforeAll(async () => {
    call = makeCall();
    owner = await makeUser();
    stranger = await makeUser();
    projectId = uniqueId();
    await putGeneration({ projectId, version: 1, ownerId: owner.id });
    await putGeneration({ projectId, version: 2, ownerId: owner.id });
    await putGeneration({ projectId, version: 3, ownerId: owner.id, status: 'pending' });
  });

  test('health needs no token', async () => {
    const answer = await call('GET', '/health');
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ status: 'ok' });
  });

  test('an owner lists projects and versions, newest first', async () => {
    const projects = await (await as(owner, 'GET', '/projects')).json();
    expect(projects).toMatchObject({
      items: [{ id: projectId, versions: 3, active_version: null }],
      next_cursor: null,
    });
    const answer = await as(owner, 'GET', `/projects/${projectId}`);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const page = await answer.json();
    expect(page.items.map((item: { version: number }) => item.version)).toEqual([3, 2, 1]);
    expect(page.items[1]).toMatchObject({
      project_id: projectId,
      generation_id: 'gen-2',
      status: 'uploaded',
      active: false,
      created_at: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
    });
    expect(page.items[1]).not.toHaveProperty('object_key');
  });

  test('a list pages by cursor, also where a version is deleted between two pages', async () => {
    const project = uniqueId();
    for (let version = 1; version <= 7; version++) {
      await putGeneration({ projectId: project, version, ownerId: owner.id, object: false });
    }
    const first = await (await as(owner, 'GET', `/projects/${project}?limit=3`)).json();
    await as(owner, 'DELETE', `/projects/${project}/${first.items[2].version}`);
    const seen = first.items.map((item: { version: number }) => item.version);
    for (let cursor = first.next_cursor; cursor !== null; ) {
      const url = `/projects/${project}?limit=3&cursor=${cursor}`;
      const page = await (await as(owner, 'GET', url)).json();
      seen.push(...page.items.map((item: { version: number }) => item.version));
      cursor = page.next_cursor;
    }
    expect(seen).toEqual([7, 6, 5, 4, 3, 2, 1]);
  });

  test('projects page by cursor', async () => {
    const user = await makeUser();
    const ids = [uniqueId(), uniqueId(), uniqueId(), uniqueId(), uniqueId()];
    for (const id of ids) {
      await putGeneration({ projectId: id, version: 1, ownerId: user.id, object: false });
    }
    const seen: string[] = [];
    let query = '?limit=2';
    for (;;) {
      const page = await (await as(user, 'GET', `/projects${query}`)).json();
      seen.push(...page.items.map((item: { id: string }) => item.id));
      if (page.next_cursor === null) break;
      query = `?limit=2&cursor=${page.next_cursor}`;
    }
    expect(seen).toEqual(ids.reverse());
  });

  test('a user creates a project, which is hers and empty', async () => {
    const user = await makeUser();
    const answer = await as(user, 'POST', '/projects', { name: '  Käse & Co  ' });
    expect(answer.status).toBe(201);
    const project = await answer.json();
    expect(project).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'Käse & Co',
      active_version: null,
      versions: 0,
      archive_bytes: 0,
      created_at: expect.stringMatching(/Z$/),
    });
    expect((await (await as(user, 'GET', '/projects')).json()).items).toEqual([project]);
    const empty = await (await as(user, 'GET', `/projects/${project.id}`)).json();
    expect(empty).toEqual({ items: [], next_cursor: null });
    expect((await as(stranger, 'GET', `/projects/${project.id}`)).status).toBe(404);
  });

  test.each([
    ['no name', {}, 'name: '],
    ['an empty name', { name: '  ' }, 'name: at least 1 character'],
    ['a name that is too long', { name: 'n'.repeat(201) }, 'name: at most 200 characters'],
    ['a name that is no text', { name: 7 }, 'name: a text'],
    ['no object', [1], 'name: '],
  ])('a project with %s is refused, and the field named', async (_case, body, detail) => {
    const answer = await as(owner, 'POST', '/projects', body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: 'invalid_input',
      detail: expect.stringContaining(detail),
    });
  });

  test('an owner activates a version; it is the one active', async () => {
    const project = uniqueId();
    for (const version of [1, 2]) {
      await putGeneration({ projectId: project, version, ownerId: owner.id, object: false });
    }
    const activate = (user: TestUser, version: number, query = '') =>
      as(user, 'POST', `/projects/${project}/${version}/activate${query}`);
    expect(await (await activate(owner, 1)).json()).toEqual({
      project_id: project,
      active_version: 1,
    });
    expect((await activate(owner, 2, '?generation=gen-2')).status).toBe(200);
    const { items } = await (await as(owner, 'GET', `/projects/${project}`)).json();
    expect(items.map((item: { active: boolean }) => item.active)).toEqual([true, false]);
    expect((await activate(owner, 3)).status).toBe(404);
    expect((await activate(owner, 1, '?generation=gen-2')).status).toBe(404);
    expect((await activate(stranger, 1)).status).toBe(404);
    await as(owner, 'DELETE', `/projects/${project}/2`);
    expect((await activate(owner, 2)).status).toBe(404);
    const shown = await (await as(owner, 'GET', `/projects/${project}`)).json();
    expect(shown.items.map((item: { active: boolean }) => item.active)).toEqual([false]);
  });

  test('usage counts what is hers and not deleted', async () => {
    const user = await makeUser();
    const usage = async () => (await as(user, 'GET', '/usage')).json();
    const none = { projects: 0, generations: 0, archive_bytes: 0, source_bytes: 0 };
    expect(await usage()).toEqual(none);
    const project = uniqueId();
    for (const version of [1, 2])
      await putGeneration({ projectId: project, version, ownerId: user.id });
    const size = 'archive of 1'.length;
    expect(await usage()).toEqual({
      projects: 1,
      generations: 2,
      archive_bytes: 2 * size,
      source_bytes: 2,
    });
    await as(user, 'DELETE', `/projects/${project}/1`);
    expect(await usage()).toEqual({
      projects: 1,
      generations: 1,
      archive_bytes: size,
      source_bytes: 1,
    });
  });

  test('usage has a history: what was kept and downloaded, and what it cost', async () => {
    const user = await makeUser();
    const history = async (query = '') => (await as(user, 'GET', `/usage/history${query}`)).json();
    const project = uniqueId();
    for (const version of [1, 2])
      await putGeneration({ projectId: project, version, ownerId: user.id });
    const size = 'archive of 1'.length;
    const url = `/projects/${project}/1/download`;
    expect((await as(user, 'POST', url, { format: 'tar.gz' })).status).toBe(200);
    expect((await as(user, 'POST', `${url}?generation=other`)).status).toBe(404);
    expect((await as(stranger, 'POST', url)).status).toBe(404);
    await as(user, 'DELETE', `/projects/${project}/2`);
    const day = new Date().toISOString().slice(0, 10);
    const today = { day, generations: 1, archive_bytes: size, downloads: 1, download_bytes: size };
    const { days } = await history();
    expect([days.length, days.at(-1)]).toEqual([30, today]);
    expect(days[0]).toEqual({ ...days[0], generations: 0, archive_bytes: 0, downloads: 0 });
    const { data, error } = await serviceClient()
      .from('storage_settings')
      .upsert({ name: 'price_per_gb', value: 30e9 })
      .select();
    expect([data?.length, error]).toEqual([1, null]);
    expect(await history('?days=1')).toEqual({ days: [today], price_per_gb: 30e9, cost: size });
    await serviceClient().from('storage_settings').delete().eq('name', 'price_per_gb');
    for (const days of ['0', '367', 'x']) {
      expect((await as(user, 'GET', `/usage/history?days=${days}`)).status, days).toBe(400);
    }
  });

  test('an owner sees one version, with a URL once it is uploaded', async () => {
    const shown = await (await as(owner, 'GET', `/projects/${projectId}/2`)).json();
    expect(shown).toMatchObject({
      version: 2,
      storage: { cloud_enabled: true, uploaded: true },
      expires_in: 3600,
    });
    expect(await (await fetch(shown.download_url)).text()).toBe('archive of 2');
    const pending = await (await as(owner, 'GET', `/projects/${projectId}/3`)).json();
    expect(pending).toMatchObject({ storage: { uploaded: false }, download_url: null });
  });

  test('an owner downloads by a signed URL that needs nothing else', async () => {
    const answer = await as(owner, 'POST', `/projects/${projectId}/2/download`, {
      format: 'tar.gz',
      expires_in: 60,
    });
    const download = await answer.json();
    const bytes = Buffer.from(await (await fetch(download.url)).arrayBuffer());
    expect(download).toMatchObject({
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
    const expiry = new Date(download.expires_at).getTime() - Date.now();
    expect(expiry).toBeGreaterThan(50_000);
    expect(expiry).toBeLessThanOrEqual(60_000);
    expect((await as(owner, 'POST', `/projects/${projectId}/1/download`)).status).toBe(200);
  });

  test('what is not uploaded cannot be downloaded: 409', async () => {
    const answer = await as(owner, 'POST', `/projects/${projectId}/3/download`);
    expect(answer.status).toBe(409);
    expect(await answer.json()).toMatchObject({ code: 'conflict' });
  });

  test('a generation id that does not match is 404', async () => {
    const path = `/projects/${projectId}/2`;
    expect((await as(owner, 'GET', `${path}?generation=gen-2`)).status).toBe(200);
    expect((await as(owner, 'GET', `${path}?generation=gen-1`)).status).toBe(404);
    expect((await as(owner, 'DELETE', `${path}?generation=gen-1`)).status).toBe(404);
  });

  test('an owner deletes for good: the row is a tombstone, the object gone, a repeat 404', async () => {
    const project = uniqueId();
    const { bucket, key } = await putGeneration({
      projectId: project,
      version: 1,
      ownerId: owner.id,
    });
    await putGeneration({ projectId: project, version: 2, ownerId: owner.id });
    const path = `/projects/${project}/1`;
    const { download_url } = await (await as(owner, 'GET', path)).json();
    const answer = await as(owner, 'DELETE', `${path}?purge=true`);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ version: 1, status: 'deleted' });
    expect((await serviceClient().storage.from(bucket).exists(key)).data).toBe(false);
    expect((await fetch(download_url)).status).toBe(400);
    for (const method of ['GET', 'DELETE']) {
      expect((await as(owner, method, path)).status).toBe(404);
    }
    const page = await (await as(owner, 'GET', `/projects/${project}`)).json();
    expect(page.items.map((item: { version: number }) => item.version)).toEqual([2]);
    expect(
      (await userClient(owner).storage.from(bucket).createSignedUrl(key, 60)).error,
    ).toMatchObject({ statusCode: '404' });
  });

  test('an owner deletes a project for good: nothing of it is left, a repeat 404', async () => {
    const project = uniqueId();
    const put = (version: number) =>
      putGeneration({ projectId: project, version, ownerId: owner.id });
    const keys = [await put(1), await put(2)].map(({ key }) => key);
    await as(owner, 'POST', `/projects/${project}/2/activate`);
    await as(owner, 'DELETE', `/projects/${project}/1`);
    const { download_url } = await (await as(owner, 'GET', `/projects/${project}/2`)).json();
    expect((await as(stranger, 'DELETE', `/projects/${project}`)).status).toBe(404);
    const answer = await as(owner, 'DELETE', `/projects/${project}?purge=true`);
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { project_id: project, status: 'deleted', undelete_until: null },
    ]);
    const bucket = serviceClient().storage.from('codebegen-projects');
    for (const key of keys) expect((await bucket.exists(key)).data).toBe(false);
    expect((await fetch(download_url)).status).toBe(400);
    for (const [method, path] of [
      ['GET', ''],
      ['DELETE', ''],
      ['GET', '/2'],
      ['DELETE', '/2'],
      ['POST', '/2/activate'],
      ['GET', '/diff?from=1&to=2'],
    ]) {
      const status = (await as(owner, method!, `/projects/${project}${path}`)).status;
      expect(status, `${method} ${path}`).toBe(404);
    }
    const projects = await (await as(owner, 'GET', '/projects?limit=200')).json();
    expect(projects.items.map((item: { id: string }) => item.id)).not.toContain(project);
    // Agents learn of each version, and the id is not given again.
    const tombstones = await serviceClient()
      .from('storage_generations')
      .select('version, status, purged_at')
      .eq('project_id', project)
      .order('version');
    expect(tombstones.data).toEqual([
      { version: 1, status: 'deleted', purged_at: expect.any(String) },
      { version: 2, status: 'deleted', purged_at: expect.any(String) },
    ]);
    await expect(put(3)).rejects.toThrow('deleted');
  });

  test('an empty project is deleted once', async () => {
    const { id } = await (await as(owner, 'POST', '/projects', { name: 'empty' })).json();
    expect((await as(owner, 'DELETE', `/projects/${id}`)).status).toBe(200);
    expect((await as(owner, 'DELETE', `/projects/${id}`)).status).toBe(404);
  });

  test.each([
    ['GET', '/projects?limit=0', 'limit'],
    ['GET', '/projects?limit=201', 'limit'],
    ['GET', '/projects?limit=x', 'limit'],
    ['GET', '/projects?cursor=nonsense', 'cursor'],
    ['GET', '/projects/p?cursor=-1', 'cursor'],
    ['GET', '/projects/..%2Fx', 'project'],
    ['GET', '/projects/a.b', 'project'],
    ['GET', '/projects/p/0', 'version'],
    ['GET', '/projects/p/2147483648', 'version'],
    ['GET', '/projects/p/1?generation=a%2Fb', 'generation'],
    ['POST', '/projects/p/1/download', 'format', { format: 'rar' }],
    ['POST', '/projects/p/1/download', 'expires_in', { expires_in: 0 }],
    ['POST', '/projects/p/1/download', 'expires_in', { expires_in: 1e9 }],
  ])('%s %s is 400 and names %s', async (method, path, field, body?: unknown) => {
    const answer = await as(owner, method, path, body);
    expect(answer.status).toBe(400);
    const problem = await answer.json();
    expect(problem).toMatchObject({ code: 'invalid_input', status: 400 });
    expect(problem.detail).toContain(field);
    expect(problem.request_id).toBe(answer.headers.get('x-request-id'));
  });

  test('a body that is no JSON is 400, one that is too large 413, an unknown path 404', async () => {
    const headers = { authorization: `Bearer ${owner.token}` };
    const post = (body: string) =>
      call('POST', `/projects/${projectId}/2/download`, { headers, body });
    expect((await post('{')).status).toBe(400);
    expect((await post('x'.repeat(70_000))).status).toBe(413);
    expect((await call('GET', '/nope')).status).toBe(404);
  });

  test('a browser of another origin may call it', async () => {
    const preflight = await call('OPTIONS', '/projects', {
      headers: {
        origin: 'https://app.example',
        'access-control-request-method': 'DELETE',
        'access-control-request-headers': 'authorization,apikey,content-type,range,x-retry-count',
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
    const listed = (answer: Response, name: string) =>
      answer.headers.get(`access-control-${name}`)?.split(/, */);
    expect(listed(preflight, 'allow-methods')).toEqual([
      'GET',
      'HEAD',
      'POST',
      'DELETE',
      'OPTIONS',
    ]);
    // What supabase-js sends now, and in its next version.
    const sent = corsHeaders['Access-Control-Allow-Headers']!.split(', ');
    const ours = ['if-none-match', 'range', 'x-request-id'];
    expect(listed(preflight, 'allow-headers')).toEqual([...sent, ...ours]);
    const refused = await call('GET', '/projects', { headers: { origin: 'https://app.example' } });
    expect(refused.headers.get('access-control-allow-origin')).toBe('*');
    const content = ['content-disposition', 'content-length', 'content-range'];
    expect(listed(refused, 'expose-headers')).toEqual([...content, 'etag', 'x-request-id']);
  });
});

test('a signed URL begins with the public URL where the function knows another', async () => {
  const owner = await makeUser();
  const projectId = uniqueId();
  await putGeneration({ projectId, version: 1, ownerId: owner.id });
  const env = { ...functionEnvironment(), PUBLIC_URL: 'https://public.example/' };
  const app = createApp(readEnvironment(env));
  const answer = await app.request(`http://x/generations/projects/${projectId}/1/download`, {
    method: 'POST',
    headers: { authorization: `Bearer ${owner.token}` },
  });
  expect((await answer.json()).url).toMatch(
    new RegExp(`^https://public\\.example/storage/v1/object/sign/.*${projectId}`),
  );
});

test('a deletion that ends before the object is gone is finished by a repeat', async () => {
  const owner = await makeUser();
  const projectId = uniqueId();
  const { bucket, key } = await putGeneration({ projectId, version: 1, ownerId: owner.id });
  const path = `http://x/generations/projects/${projectId}/1?purge=true`;
  const init = { method: 'DELETE', headers: { authorization: `Bearer ${owner.token}` } };
  // A service key that storage refuses: the tombstone is left, the object stays.
  const broken = { ...functionEnvironment(), SUPABASE_SERVICE_ROLE_KEY: 'not-a-key' };
  const failed = await createApp(readEnvironment(broken)).request(path, init);
  expect(failed.status).toBe(503);
  expect((await failed.json()).detail).toContain('try again');
  expect((await serviceClient().storage.from(bucket).exists(key)).data).toBe(true);
  expect((await userClient(owner).storage.from(bucket).download(key)).error).not.toBeNull();

  const app = createApp(readEnvironment(functionEnvironment()));
  expect((await app.request(path, init)).status).toBe(200);
  expect((await serviceClient().storage.from(bucket).exists(key)).data).toBe(false);
  expect((await app.request(path, init)).status).toBe(404);
});

test('the deletion of a project of many versions is finished by a repeat', async () => {
  const owner = await makeUser();
  const projectId = uniqueId();
  const versions = 2100;
  const { bucket, key } = await putGeneration({ projectId, version: 1, ownerId: owner.id });
  const rows = Array.from({ length: versions - 1 }, (_, i) => ({
    project_id: projectId,
    version: i + 2,
    generation_id: `g${i}`,
    bucket,
    object_key: `${projectId}/generations/v${i + 2}__g.tar.gz`,
    status: 'uploaded',
  }));
  expect((await serviceClient().from('storage_generations').insert(rows)).error).toBeNull();
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  const owed = async () => {
    const counted = await serviceClient()
      .from('storage_archives')
      .select('*', { count: 'exact', head: true })
      .match({ project_id: projectId, state: 'unneeded' });
    return counted.count;
  };
  // Storage fails at the second thousand.
  let removals = 0;
  proxy.rule = (method, path) =>
    method === 'DELETE' && path.includes('/storage/') && ++removals === 2
      ? { kind: 'answer', status: 500 }
      : null;
  const path = `/projects/${projectId}?purge=true`;
  const failed = await as('DELETE', path);
  expect([failed.status, (await failed.json()).detail]).toEqual([
    503,
    expect.stringContaining('try again'),
  ]);
  expect(await owed()).toBe(versions - 1000);
  expect((await as('GET', `/projects/${projectId}`)).status).toBe(404);
  expect((await userClient(owner).storage.from(bucket).download(key)).error).not.toBeNull();
  expect((await as('DELETE', path)).status).toBe(200);
  expect(await owed()).toBe(0);
  expect((await as('DELETE', `/projects/${projectId}`)).status).toBe(404);
});

test.each([
  ['a page of a gateway', { kind: 'answer', status: 502, body: '<html>' } as const, 503],
  ['JSON of a gateway, without a code', { kind: 'answer', status: 503 } as const, 503],
  ['a gateway that has had enough', { kind: 'answer', status: 429 } as const, 429],
  ['a gateway that knows no such path', { kind: 'answer', status: 404 } as const, 503],
  ['a connection that breaks', { kind: 'down' } as const, 503],
])('%s in the place of the database is told of as such', async (_, fault, status) => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  proxy.rule = () => fault;
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), await makeUser());
  const answer = await as('GET', '/projects');
  const problem = await answer.json();
  expect([answer.status, problem.code]).toEqual([
    status,
    status === 429 ? 'rate_limited' : 'unavailable',
  ]);
});

test('the environment is named where it is not there', () => {
  expect(() => readEnvironment({})).toThrow(
    'SUPABASE_URL, SUPABASE_PUBLISHABLE_KEYS, SUPABASE_SECRET_KEYS',
  );
  const read = readEnvironment({
    SUPABASE_URL: 'https://x.supabase.co/',
    SUPABASE_PUBLISHABLE_KEYS: '{"web":"pk"}',
    SUPABASE_SECRET_KEYS: '{"other":"no","default":"sk"}',
    SUPABASE_ANON_KEY: 'legacy',
  });
  expect(read).toMatchObject({
    supabaseUrl: 'https://x.supabase.co',
    publicUrl: 'https://x.supabase.co',
    publishableKey: 'pk',
    secretKey: 'sk',
    jwtSecret: null,
  });
});
