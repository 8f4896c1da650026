/**
 * What the key of a host opens: every route × who asks × whether it is there. The routes are those of the
 * OpenAPI document: one that is not here fails a test.
 */
import { hash } from 'node:crypto';
import { Validator } from '@seriousme/openapi-schema-validator';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { callHosts, callHostsInProcess } from '../support/edge.ts';
import {
  type Answer,
  askWith,
  type MadeItem,
  makeHost,
  makeItem,
  makeKey,
  recordOf,
  saveAs,
  sql,
  type TestHost,
} from '../support/host-key.ts';
import { getDocument, operationsOf } from '../support/openapi.ts';

type State = 'there' | 'missing' | 'deleted' | 'due';
const STATES: State[] = ['there', 'missing', 'deleted', 'due'];

/** What is asked about. */
type About = Readonly<{ made: MadeItem; key: string }>;

type Route = Readonly<{
  body: (about: About) => object;
  /** What the host that saved it is answered where it is there. */
  own: object;
  /** Whether it takes the right to delete. */
  deletes?: boolean;
  /** What a stranger is answered where something of that name is there: a name that is taken cannot be given. */
  taken?: { cause: string; toAssigned: string };
  /** Whether it is about what the host has, whatever that is. */
  ofAll?: boolean;
}>;

const named = ({ made: { item } }: About) => ({
  project_id: item.project_id,
  version: item.version,
});
const one = (outcome: object) => ({ items: [expect.objectContaining(outcome)] });
const reserving: Route = {
  body: ({ made }) => ({ host_id: made.hostId, items: [made.item] }),
  own: one({ outcome: 'reserved', status: 'verified', upload: null }),
  taken: { cause: 'project', toAssigned: 'version' },
};

const ROUTES: Record<string, Route> = {
  reserve: reserving,
  replace: reserving,
  signUploads: { body: ({ key }) => ({ object_keys: [key] }), own: { items: [] } },
  record: {
    body: ({ made, key }) => ({ items: [recordOf(made, key)] }),
    own: one({ outcome: 'recorded', status: 'verified' }),
  },
  find: {
    body: (about) => ({ items: [named(about), { ...named(about), version: null }] }),
    own: {
      items: [
        expect.objectContaining({ row: expect.objectContaining({ status: 'verified' }) }),
        expect.objectContaining({ highest_version: 1 }),
      ],
    },
  },
  list: {
    body: (about) => ({ of: 'generations', project_id: named(about).project_id }),
    own: one({ status: 'verified' }),
  },
  download: {
    body: (about) => ({ items: [named(about)] }),
    own: one({ url: expect.stringContaining('token=') }),
  },
  listChanges: {
    body: () => ({ of: 'generations' }),
    own: { items: expect.any(Array), through: expect.any(Number) },
    ofAll: true,
  },
  delete: {
    body: (about) => ({
      ...named(about),
      generation_id: about.made.item.generation_id,
      host_id: about.made.hostId,
      digests: null,
      deleted_at: null,
      epoch: 0,
    }),
    own: { outcome: 'recorded', kept: true },
    deletes: true,
  },
  undelete: {
    body: (about) => ({ ...named(about), generation_id: null, digest: null }),
    own: { outcome: 'live' },
    deletes: true,
  },
  purge: { body: () => ({}), own: { objects: [] }, deletes: true, ofAll: true },
  setOwner: {
    body: (about) => ({ project_id: named(about).project_id, owner_id: about.made.item.owner_id }),
    own: { outcome: 'known' },
  },
  activate: {
    body: (about) => ({
      ...named(about),
      generation_id: about.made.item.generation_id,
      at: '2026-11-02T00:00:00.000Z',
    }),
    own: { outcome: 'set' },
  },
  scratch: {
    body: () => ({ do: 'begin' }),
    own: { upload: { token: expect.any(String) } },
    ofAll: true,
  },
  check: { body: () => ({}), own: { delete: 'own' }, ofAll: true },
};

let routes: { id: string; path: string }[];
let owner: TestHost;
let ownerId: string;

beforeAll(async () => {
  const document = await getDocument(callHostsInProcess());
  const operations = operationsOf(document).filter(({ method }) => method === 'POST');
  routes = operations.map(({ id, path }) => ({ id, path }));
  expect(routes.map(({ id }) => id).toSorted()).toEqual(Object.keys(ROUTES).toSorted());
  owner = await makeHost();
  ownerId = (await makeUser()).id;
});

/** Saved by the owner of this test, then as the state says. */
async function make(state: State, host = owner): Promise<About> {
  const made = makeItem(uniqueId(), 1, { owner_id: ownerId });
  const key = `${made.item.project_id}/generations/v1__${made.item.generation_id}.tar.gz`;
  if (state === 'missing') return { made, key };
  await saveAs(host, made);
  if (state === 'there') return { made, key };
  await host.ask('/delete', ROUTES.delete!.body({ made, key }));
  if (state === 'due') {
    const rows = serviceClient().from('storage_generations');
    const due = rows.update({ purge_at: new Date(Date.now() - 1000).toISOString() });
    expect((await due.eq('project_id', made.item.project_id)).error).toBeNull();
  }
  return { made, key };
}

/** Of what is due no more than what its purge leaves as it is: whoever keeps house may purge it at any time. */
async function rowOf({ made }: About, state: State) {
  const rows = serviceClient()
    .from('storage_generations')
    .select(state === 'due' ? 'generation_id, status, deleted_at, undeleted_at, reserved_by' : '*');
  const projects = serviceClient().from('storage_projects').select('owner_id, active_version');
  return [
    (await rows.eq('project_id', made.item.project_id)).data,
    (await projects.eq('id', made.item.project_id)).data,
  ];
}

/** What is asked, without what is another's each time. */
function plain(body: unknown, { made }: About): unknown {
  const text = JSON.stringify(body).replaceAll(made.item.project_id, 'P');
  // How many changes there were says nothing of whose.
  const { request_id: _, through: __, ...rest } = JSON.parse(text);
  return rest;
}

/** That nothing which nobody but the host that saved it knows is told. */
function expectNoLeak(asked: object, body: unknown, { made, key }: About): void {
  const [question, text] = [JSON.stringify(asked), JSON.stringify(body)];
  const { digest, sha256, md5, generation_id: generation } = made.item;
  for (const secret of [digest, sha256, md5, generation, ownerId, key, 'token=']) {
    if (!question.includes(secret)) expect(text).not.toContain(secret);
  }
}

describe.each(STATES)('of what is %s', (state) => {
  let about: About;
  beforeAll(async () => {
    about = await make(state);
  });

  test('a key that opens nothing is told so, whatever it asks', async () => {
    const ended = await makeHost({ expiresAt: new Date(Date.now() - 1000).toISOString() });
    const revoked = await makeHost();
    await sql('storage_revoke_host', { p_name: revoked.name });
    const askers = {
      none: askWith(null),
      malformed: askWith('cbh_short'),
      'a secret key': askWith('sb_secret_0123456789abcdef'),
      wrong: askWith(makeKey()),
      expired: ended.ask,
      revoked: revoked.ask,
    };
    const before = await rowOf(about, state);
    for (const { id, path } of routes) {
      for (const [name, ask] of Object.entries(askers)) {
        const { status, body } = await ask(path, ROUTES[id]!.body(about));
        expect([status, body.code], `${id}, ${name}`).toEqual([401, 'unauthenticated']);
        expectNoLeak(ROUTES[id]!.body(about), body, about);
      }
    }
    expect(await rowOf(about, state)).toEqual(before);
  });

  test('a host that did not save it learns nothing, and changes nothing', async () => {
    const stranger = await makeHost();
    const assigned = await makeHost();
    const { project_id } = about.made.item;
    await sql('storage_assign_projects', { p_name: assigned.name, p_projects: [project_id] });
    const before = await rowOf(about, state);
    for (const [id, route] of Object.entries(ROUTES)) {
      const { path } = routes.find((one) => one.id === id)!;
      // A reservation makes what is not there.
      if (route.taken !== undefined && state === 'missing') continue;
      const nothing = await make('missing');
      // Hosts of their own: what does not exist yet, they may make.
      const missing = await (await makeHost()).ask(
        path,
        route.taken === undefined ? route.body(nothing) : {},
      );
      for (const [host, cause] of [
        [stranger, route.taken?.cause],
        [assigned, route.taken?.toAssigned],
      ] as const) {
        if (host === assigned && state === 'missing') continue;
        const asked = route.body(about);
        const { status, body } = await host.ask(path, asked);
        const what = `${id}, ${host === stranger ? 'stranger' : 'assigned'}: ${JSON.stringify(body)}`;
        expectNoLeak(asked, body, about);
        if (cause !== undefined) {
          expect(status, what).toBe(200);
          expect(body.items[0], what).toMatchObject({ outcome: 'conflict', cause, upload: null });
        } else if (id === 'find' && host === assigned) {
          // Which versions are taken.
          expect(body.items, what).toMatchObject([{ row: null }, { highest_version: 1 }]);
        } else if (id === 'check' || id === 'scratch') {
          expect(status, what).toBe(200);
        } else {
          expect([status, plain(body, about)], what).toEqual([
            missing.status,
            plain(missing.body, nothing),
          ]);
        }
      }
    }
    expect(await rowOf(about, state)).toEqual(before);
  });

  test('a host without the right to delete deletes nothing, of its own neither', async () => {
    const keeper = await makeHost({ delete: 'none' });
    const own = state === 'there' ? await make('there', keeper) : about;
    const before = await rowOf(own, state);
    for (const { id, path } of routes.filter((route) => ROUTES[route.id]!.deletes)) {
      const { status, body } = await keeper.ask(path, ROUTES[id]!.body(own));
      expect([status, body.code], id).toEqual([403, 'forbidden']);
      expect(body.detail).toContain('--delete own');
    }
    expect(await rowOf(own, state)).toEqual(before);
  });

  test('the host that saved it is answered', async () => {
    for (const { id, path } of routes) {
      const route = ROUTES[id]!;
      const own = await make(state);
      const { status, body } = await owner.ask(path, route.body(own));
      expect(status, `${id}: ${JSON.stringify(body)}`).toBe(200);
      if (state === 'there') expect(body, id).toMatchObject(route.own);
    }
  });
});

test('a host that may read all reads what others saved, and writes nothing of it', async () => {
  const reader = await makeHost({ read: 'all', delete: 'none' });
  const about = await make('there');
  const read = async (id: string) => {
    const { path } = routes.find((route) => route.id === id)!;
    return (await reader.ask(path, ROUTES[id]!.body(about))).body;
  };
  for (const id of ['find', 'list', 'download']) {
    expect(await read(id), id).toMatchObject(ROUTES[id]!.own);
  }
  expect(await read('reserve')).toMatchObject({ items: [{ outcome: 'conflict' }] });
  expect(await read('record')).toMatchObject({ items: [{ outcome: 'missing' }] });
  expect(await read('activate')).toMatchObject({ outcome: 'missing' });
  expect(await read('setOwner')).toMatchObject({ outcome: 'missing' });
});

test('a host lists its projects and what is active, and says why it gave up', async () => {
  const host = await makeHost();
  const [saved, given] = [makeItem(uniqueId()), makeItem(uniqueId())];
  await saveAs(host, saved);
  await host.ask('/reserve', { host_id: given.hostId, items: [given.item] });
  const { project_id, version, generation_id, digest } = given.item;
  const failed = {
    status: 'failed',
    project_id,
    version,
    generation_id,
    digest,
    reason: 'no room',
  };
  const answer = await host.ask('/record', { items: [failed] });
  expect(answer.body.items).toMatchObject([{ outcome: 'recorded' }]);
  const rows = serviceClient().from('storage_generations').select('status, failure');
  expect((await rows.eq('project_id', project_id)).data).toEqual([
    { status: 'failed', failure: 'no room' },
  ]);
  const listed = (await host.ask('/list', { of: 'projects' })).body.items as Answer[];
  expect(listed.map((project) => [project.project_id, project.versions]).toSorted()).toEqual(
    [
      [saved.item.project_id, 1],
      [project_id, 0],
    ].toSorted(),
  );
  expect((await host.ask('/list', { of: 'projects', only: project_id })).body.items).toHaveLength(
    1,
  );
  const at = '2026-11-02T00:00:00.000Z';
  const { project_id: id, version: v, generation_id: g } = saved.item;
  await host.ask('/activate', { project_id: id, version: v, generation_id: g, at });
  const active = (await host.ask('/changes', { of: 'active' })).body.items as Answer[];
  expect(active).toMatchObject([{ project_id: id, version: 1 }]);
  const { noted_at } = active[0];
  const after = await host.ask('/changes', { of: 'active', after: { noted_at, project_id: id } });
  expect(after.body.items).toEqual([]);
});

test('that a key was used is noted, with the time', async () => {
  const host = await makeHost();
  await host.ask('/check', {});
  await expect
    .poll(async () => {
      const hosts = (await sql('storage_list_hosts', { p_limit: 1000 })) as Answer[];
      return hosts.find(({ name }) => name === host.name)?.last_seen_at;
    })
    .toEqual(expect.any(String));
});

test('what is due is purged, what nobody needs removed, and projects are written down, when a host checks in', async () => {
  const about = await make('due');
  const { project_id, sha256 } = about.made.item;
  const files = serviceClient().storage.from('codebegen-projects');
  await expect
    .poll(
      async () => {
        await owner.ask('/check', { host_id: about.made.hostId, count: 0 });
        return (await rowOf(about, 'there'))[0]?.[0];
      },
      { timeout: 60_000 },
    )
    .toMatchObject({ purge_at: null, sha256: null });
  expect((await files.info(about.key)).error).not.toBeNull();
  expect(sha256).toBeTruthy();
  await expect
    .poll(
      async () => {
        await owner.ask('/check', { host_id: about.made.hostId, count: 0 });
        const { data } = await files.download(`${project_id}/project.json`);
        return data === null ? null : JSON.parse(await data.text());
      },
      // Those of other tests are written too, so many at a time.
      { timeout: 60_000 },
    )
    .toMatchObject({ project_id, owner_id: ownerId, deleted: [{ version: 1 }] });
});

test('what its eTag does not prove is read back, and is what was reserved or is not verified', async () => {
  const made = makeItem(uniqueId());
  const reserved = await owner.ask('/reserve', { host_id: made.hostId, items: [made.item] });
  const { object_key } = reserved.body.items[0];
  const files = serviceClient().storage.from('codebegen-projects');
  await files.upload(object_key, made.bytes);
  // As the eTag of an object that was stored in parts is.
  const md5 = hash('md5', 'parts');
  const verified = recordOf(made, object_key, { md5, status: 'verified' });
  expect(
    (await owner.ask('/record', { items: [{ ...verified, status: 'uploaded' }] })).body.items,
  ).toMatchObject([{ outcome: 'recorded', status: 'uploaded' }]);
  expect((await owner.ask('/record', { items: [verified] })).body.items).toMatchObject([
    { outcome: 'recorded', status: 'verified' },
  ]);
  const other = makeItem(uniqueId());
  const again = await owner.ask('/reserve', { host_id: other.hostId, items: [other.item] });
  const key = again.body.items[0].object_key;
  await files.upload(key, Buffer.alloc(other.bytes.length));
  const claimed = recordOf(other, key, { md5, status: 'verified' });
  expect((await owner.ask('/record', { items: [claimed] })).body.items[0]).not.toMatchObject({
    status: 'verified',
  });
});

test('the document validates as OpenAPI 3.1', async () => {
  const served = await callHosts()('GET', '/openapi.json');
  expect(await new Validator().validate(await served.json())).toEqual({ valid: true });
});
