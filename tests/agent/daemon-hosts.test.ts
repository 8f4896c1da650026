/** Keys of hosts, given and taken away over the daemon's HTTP API. */
import * as v from 'valibot';
import { expect, inject, test } from 'vitest';
import { isHostKey } from '../../node-agent/contract.ts';
import {
  AddedHostSchema,
  HostSchema,
  RotatedHostSchema,
} from '../../node-agent/daemon/host-schemas.ts';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { type Answer, askWith, makeHost } from '../support/host-key.ts';

/** Of whoever looks after hosts, and of generators. */
const TOKEN = 'a-token-of-the-daemon-for-its-hosts';
const OTHER = 'a-token-of-the-daemon-for-generators';

async function startWith(env: Record<string, string>, own: string | null = TOKEN) {
  const stack = inject('stack');
  const { daemon } = await startDaemon({
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: stack.SUPABASE_URL,
    SUPABASE_BUCKET: 'codebegen-projects',
    AGENT_TOKEN: OTHER,
    ...(own === null ? {} : { AGENT_ADMIN_TOKEN: own }),
    ...env,
  });
  const ask = async (method: string, path: string, body?: unknown, token = TOKEN) => {
    const answer = await fetch(`${daemon.url}/v1/hosts${path}`, {
      method,
      headers: token === '' ? {} : { authorization: `Bearer ${token}` },
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return {
      status: answer.status,
      headers: answer.headers,
      body: (await answer.json()) as Answer,
    };
  };
  return { daemon, ask };
}

const withSecretKey = (own: string | null = TOKEN) =>
  startWith({ SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY }, own);

/** What the function says to whoever comes with a key. */
const statusOf = async (key: string) => (await askWith(key)('/check', {})).status;

test('a host is added, given another key, assigned projects, and revoked', async () => {
  const { daemon, ask } = await withSecretKey();
  const name = uniqueId('host');
  const added = await ask('POST', '', { name, delete: 'own', expires_in: 3600 });
  expect(added.status).toBe(201);
  expect(added.headers.get('cache-control')).toBe('no-store');
  expect(added.body).toMatchObject({ name, expires_at: expect.any(String) });
  expect(v.is(AddedHostSchema, added.body)).toBe(true);
  expect(isHostKey(added.body.key)).toBe(true);
  expect(await statusOf(added.body.key)).toBe(200);

  const rotated = await ask('POST', `/${name}/rotate`, { overlap: 0 });
  expect(rotated.body).toMatchObject({ name, expires_at: null });
  expect(v.is(RotatedHostSchema, rotated.body)).toBe(true);
  expect(await statusOf(added.body.key)).toBe(401);
  expect(await statusOf(rotated.body.key)).toBe(200);

  const projects = [uniqueId(), uniqueId()];
  expect((await ask('POST', `/${name}/assign`, { projects })).body).toEqual({ name, assigned: 2 });
  const listed = async () =>
    (await ask('GET', '')).body.items.find((host: Answer) => host.name === name);
  expect(await listed()).toMatchObject({
    ...{ read: 'own', delete: 'own', projects: 2, revoked_at: null },
  });
  expect(v.is(HostSchema, await listed())).toBe(true);
  // The newest first.
  expect((await listed()).keys[0]).toMatchObject({ expires_at: null });

  expect((await ask('POST', `/${name}/revoke`)).body).toEqual({ name, revoked: true });
  expect((await ask('POST', `/${name}/revoke`)).body).toEqual({ name, revoked: false });
  expect(await statusOf(rotated.body.key)).toBe(401);
  const heir = await makeHost();
  const from = await ask('POST', `/${heir.name}/assign`, { from: name });
  expect(from.body).toEqual({ name: heir.name, assigned: 2 });
  for (const key of [added.body.key, rotated.body.key]) {
    expect(Object.values(daemon.output()).join()).not.toContain(key);
  }
});

test.each<[string, string, string, unknown, number, string]>([
  ['no name', 'POST', '', {}, 400, 'name'],
  ['a name that is none', 'POST', '', { name: '../x' }, 400, 'as the name of a host'],
  ['a field that is none', 'POST', '', { name: 'h', expires: 1 }, 400, 'expires'],
  ['a scope that is none', 'POST', '', { name: 'h', read: 'some' }, 400, 'read'],
  ['an end that is none', 'POST', '', { name: 'h', expires_in: -1 }, 400, 'expires_in'],
  ['a project that is none', 'POST', '', { name: 'h', projects: ['a/b'] }, 400, 'project id'],
  ['no JSON', 'POST', '', '{', 400, 'no JSON'],
  ['too much', 'POST', '', 'x'.repeat(300_000), 413, 'more than'],
  ['nothing to assign', 'POST', '/h/assign', {}, 400, '"projects" or "from"'],
  ['a host that is not there', 'POST', '/no-such-host/rotate', {}, 404, 'no-such-host'],
  ['a name in the path that is none', 'POST', '/%2e%2e%2f/revoke', {}, 400, 'name of a host'],
])('%s is refused, and named', async (_, method, path, body, status, named) => {
  const { ask } = await withSecretKey();
  const answer = await ask(method, path, body);
  expect([answer.status, answer.body.detail]).toEqual([status, expect.stringContaining(named)]);
});

test('nobody looks after hosts who knows the token of generators alone; nor where there is no other', async () => {
  const name = uniqueId('host');
  const calls = [
    ['GET', ''],
    ...['', `/${name}/rotate`, `/${name}/assign`, `/${name}/revoke`].map((path) => ['POST', path]),
  ] as [string, string][];
  const { daemon, ask } = await withSecretKey();
  const without = await withSecretKey(null);
  for (const [method, path] of calls) {
    const body = method === 'GET' ? undefined : { name };
    for (const token of ['', 'wrong']) {
      expect((await ask(method, path, body, token)).status, path).toBe(401);
    }
    for (const [answer, status] of [
      [await ask(method, path, body, OTHER), 401],
      [await without.ask(method, path, body, OTHER), 403],
    ] as const) {
      const named = expect.stringContaining('AGENT_ADMIN_TOKEN');
      expect([answer.status, answer.body.detail], path).toEqual([status, named]);
    }
  }
  const { items } = (await ask('GET', '')).body;
  expect(items.map((host: Answer) => host.name)).not.toContain(name);
  // It opens the rest too.
  for (const token of [TOKEN, OTHER]) {
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${daemon.url}/v1/status`, { headers })).status).toBe(200);
  }
});

test('by the key of a host nobody learns of hosts, nor adds one', async () => {
  const host = await makeHost();
  const { ask } = await startWith({ HOST_KEY: host.key });
  for (const [method, path] of [
    ['GET', ''],
    ['POST', ''],
    ['POST', `/${host.name}/rotate`],
  ] as const) {
    const body = method === 'GET' ? undefined : path === '' ? { name: 'another' } : {};
    const answer = await ask(method, path, body);
    expect([answer.status, answer.body.detail], path).toEqual([
      403,
      expect.stringContaining('where the secret key is'),
    ]);
  }
});

test('where the cloud is off it says so', async () => {
  const { ask } = await startWith({ USE_CLOUD_STORAGE: 'false' });
  const { status, body } = await ask('GET', '');
  expect([status, body.detail]).toEqual([503, expect.stringContaining('the cloud is off')]);
});
