/**
 * Who may see what: every route × who asks × whether it is there; then the same past the function,
 * through the Storage API and the REST API.
 */
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { makeUser, serviceClient, signToken, type TestUser, uniqueId } from '../support/cloud.ts';
import { callGateway } from '../support/edge.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { getDocument, operationsOf } from '../support/openapi.ts';

const BUCKET = 'codebegen-projects';

/** `kept`: deleted, and not purged yet. */
type State = 'existing' | 'missing' | 'kept' | 'purged';
const STATES: State[] = ['existing', 'missing', 'kept', 'purged'];

type Route = {
  method: string;
  path: (project: string) => string;
  body?: object;
  /** What the owner is answered where it is there; 404 else. */
  found: number;
  /** Whether it changes what it is asked about, so that it needs one of its own. */
  changes?: boolean;
  /** Whether it is about a project, not one of its versions. */
  ofProject?: boolean;
  /** Whether it is for what is deleted: the owner gets at that, too. */
  ofDeleted?: boolean;
};

/** By the operation ids of the OpenAPI document: a route that is not here fails a test. */
const ROUTES: Record<string, Route> = {
  listGenerations: { method: 'GET', path: (p) => `/projects/${p}`, found: 200, ofProject: true },
  deleteProject: {
    method: 'DELETE',
    path: (p) => `/projects/${p}`,
    found: 200,
    ofProject: true,
    changes: true,
  },
  undeleteProject: {
    method: 'POST',
    path: (p) => `/projects/${p}/undelete`,
    found: 200,
    ofProject: true,
    ofDeleted: true,
  },
  listDeletedGenerations: {
    method: 'GET',
    path: (p) => `/projects/${p}?deleted=true`,
    found: 200,
    ofProject: true,
    ofDeleted: true,
  },
  undeleteGeneration: {
    method: 'POST',
    path: (p) => `/projects/${p}/1/undelete`,
    found: 200,
    ofDeleted: true,
  },
  purgeGeneration: {
    method: 'DELETE',
    path: (p) => `/projects/${p}/1?purge=true`,
    found: 200,
    changes: true,
    ofDeleted: true,
  },
  diffGenerations: { method: 'GET', path: (p) => `/projects/${p}/diff?from=1&to=1`, found: 200 },
  showGeneration: { method: 'GET', path: (p) => `/projects/${p}/1`, found: 200 },
  deleteGeneration: {
    method: 'DELETE',
    path: (p) => `/projects/${p}/1`,
    found: 200,
    changes: true,
  },
  downloadGeneration: { method: 'POST', path: (p) => `/projects/${p}/1/download`, found: 200 },
  downloadGenerationZip: {
    method: 'POST',
    path: (p) => `/projects/${p}/1/download`,
    body: { format: 'zip' },
    found: 200,
  },
  createLink: {
    method: 'POST',
    path: (p) => `/projects/${p}/1/download`,
    body: { revocable: true },
    found: 200,
  },
  downloadZip: { method: 'GET', path: (p) => `/projects/${p}/1/archive.zip`, found: 200 },
  activateGeneration: {
    method: 'POST',
    path: (p) => `/projects/${p}/1/activate`,
    found: 200,
    changes: true,
  },
  listFiles: { method: 'GET', path: (p) => `/projects/${p}/1/files`, found: 200 },
  getFile: { method: 'GET', path: (p) => `/projects/${p}/1/files/a.py`, found: 200 },
};

/** Those about nothing in particular: what each shows is the asker's. */
const OWN = ['listProjects', 'createProject', 'showUsage', 'showUsageHistory', 'listLinks'];
const OPEN = ['health', 'openapi'];
/** By the id of a link, not of a project: `links.test.ts`. */
const OF_LINKS = ['followLink', 'endLink'];

/** Who is no user: what the function answers with 401, whatever is there. */
const NOBODIES: [string, () => string | null | Promise<string | null>][] = [
  ['no token', () => null],
  ['garbage', () => 'garbage'],
  ['expired', () => signToken({ sub: owner.id }, { expiresIn: -60 })],
  ['forged', () => signToken({ sub: owner.id }, { secret: 'x'.repeat(40) })],
  ['anon key', () => inject('stack').SUPABASE_ANON_KEY],
  ['publishable key', () => inject('stack').SUPABASE_PUBLISHABLE_KEY],
  ['service', () => inject('stack').SUPABASE_SERVICE_KEY],
  ['secret key', () => inject('stack').SUPABASE_SECRET_KEY],
];

let owner: TestUser;
let stranger: TestUser;
const projects = {} as Record<State, string>;
/** Projects that are deleted as a whole; of those in `projects` the version is. */
const deletedProjects = {} as Record<'kept' | 'purged', string>;

const call = (token: string | null, method: string, path: string, body?: object) =>
  callGateway()(method, path, {
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

async function makeProject(): Promise<string> {
  const projectId = uniqueId();
  await saveToCloud({
    projectId,
    version: 1,
    generationId: 'g',
    ownerId: owner.id,
    files: { 'a.py': 'a\n' },
  });
  return projectId;
}

beforeAll(async () => {
  [owner, stranger] = [await makeUser(), await makeUser()];
  projects.existing = await makeProject();
  projects.missing = uniqueId('missing');
  for (const state of ['kept', 'purged'] as const) {
    projects[state] = await makeProject();
    deletedProjects[state] = await makeProject();
    for (const path of [`${projects[state]}/1`, deletedProjects[state]]) {
      const answer = await call(
        owner.token,
        'DELETE',
        `/projects/${path}?purge=${state === 'purged'}`,
      );
      expect(answer.status).toBe(200);
    }
  }
});

const projectOf = ({ ofProject }: Route, state: State) =>
  (state === 'kept' || state === 'purged') && ofProject ? deletedProjects[state] : projects[state];

test('the table has every route', async () => {
  const ids = operationsOf(await getDocument()).map(({ id }) => id);
  const known = [...Object.keys(ROUTES), ...OWN, ...OPEN, ...OF_LINKS];
  expect(ids.filter((id) => !known.includes(id))).toEqual([]);
});

describe.each(Object.entries(ROUTES))('%s', (_, route) => {
  const ask = (token: string | null, project: string) =>
    call(token, route.method, route.path(project), route.body);

  test.each(NOBODIES)('%s: 401, whatever is there', async (_, makeToken) => {
    const token = await makeToken();
    for (const state of STATES) {
      const answer = await ask(token, projectOf(route, state));
      const problem = await answer.json();
      expect([answer.status, problem.code], state).toEqual([401, 'unauthenticated']);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  test('another user: 404, and cannot tell which', async () => {
    const answers = await Promise.all(
      STATES.map(async (state) => {
        const project = projectOf(route, state);
        const answer = await ask(stranger.token, project);
        const problem = await answer.json();
        expect([answer.status, problem.code], state).toEqual([404, 'not_found']);
        const { request_id: _, ...rest } = problem;
        return JSON.stringify(rest).replaceAll(project, 'PROJECT');
      }),
    );
    expect(new Set(answers).size).toBe(1);
  });

  test('the owner: what is there, and 404 else', async () => {
    for (const state of STATES) {
      if (route.ofDeleted && (state === 'kept' || state === 'purged')) continue;
      const mine = state === 'existing' && route.changes;
      const answer = await ask(owner.token, mine ? await makeProject() : projectOf(route, state));
      await answer.arrayBuffer();
      expect(answer.status, state).toBe(state === 'existing' ? route.found : 404);
    }
  });
});

describe('what is about the asker', () => {
  test.each(NOBODIES)('%s: 401', async (_, makeToken) => {
    const token = await makeToken();
    expect((await call(token, 'GET', '/projects')).status).toBe(401);
    expect((await call(token, 'POST', '/projects', { name: 'x' })).status).toBe(401);
    expect((await call(token, 'GET', '/usage')).status).toBe(401);
    expect((await call(token, 'GET', '/usage/history')).status).toBe(401);
  });

  test('another user sees nothing, and counts nothing', async () => {
    expect((await (await call(stranger.token, 'GET', '/projects')).json()).items).toEqual([]);
    expect(await (await call(stranger.token, 'GET', '/usage')).json()).toMatchObject({
      projects: 0,
      generations: 0,
      archive_bytes: 0,
    });
  });

  test('the owner sees what is there, and nothing that is deleted', async () => {
    const { items } = await (await call(owner.token, 'GET', '/projects?limit=200')).json();
    const ids = items.map((item: { id: string }) => item.id);
    expect(ids).toContain(projects.existing);
    for (const id of Object.values(deletedProjects)) expect(ids).not.toContain(id);
  });

  test('health and the OpenAPI document are for everybody', async () => {
    for (const token of [null, 'garbage', stranger.token]) {
      expect((await call(token, 'GET', '/health')).status).toBe(200);
      expect((await call(token, 'GET', '/openapi.json')).status).toBe(200);
    }
  });
});

/** Ways past the function. Each gives what it got, or `null` where that is nothing. */
const WAYS_PAST: [string, (asker: Asker, project: string) => Promise<unknown>][] = [
  ['REST: storage_projects', (asker, p) => rows(asker, 'storage_projects', 'id', p)],
  ['REST: storage_generations', (asker, p) => rows(asker, 'storage_generations', 'project_id', p)],
  ['REST: storage_manifests', (asker, p) => rows(asker, 'storage_manifests', 'project_id', p)],
  [
    'RPC: storage_download_generation',
    (asker, p) => rpc(asker, 'storage_download_generation', version(p)),
  ],
  ['RPC: storage_get_generation', (asker, p) => rpc(asker, 'storage_get_generation', version(p))],
  [
    'RPC: storage_list_generations',
    (asker, p) => rpc(asker, 'storage_list_generations', { p_project_id: p, p_limit: 10 }),
  ],
  [
    'RPC: storage_list_files',
    (asker, p) =>
      rpc(asker, 'storage_list_files', { ...version(p), p_folder: 'source', p_limit: 10 }),
  ],
  [
    'RPC: storage_find_files',
    (asker, p) =>
      rpc(asker, 'storage_find_files', { ...version(p), p_folder: 'source', p_paths: ['a.py'] }),
  ],
  [
    'RPC: storage_manifest_files',
    (asker, p) => rpc(asker, 'storage_manifest_files', { ...version(p), p_folder: 'source' }),
  ],
  ['RPC: storage_has_files', (asker, p) => rpc(asker, 'storage_has_files', version(p))],
  [
    'RPC: storage_delete_generation',
    (asker, p) => rpc(asker, 'storage_delete_generation', version(p)),
  ],
  [
    'RPC: storage_delete_project',
    (asker, p) => rpc(asker, 'storage_delete_project', { p_project_id: p, p_limit: 10 }),
  ],
  [
    'RPC: storage_activate_generation',
    (asker, p) => rpc(asker, 'storage_activate_generation', version(p)),
  ],
  ['Storage: download', (asker, p) => storage(asker, 'GET', `object/${BUCKET}/${keyOf(p)}`)],
  [
    'Storage: download, authenticated',
    (asker, p) => storage(asker, 'GET', `object/authenticated/${BUCKET}/${keyOf(p)}`),
  ],
  [
    'Storage: download, public',
    (asker, p) => storage(asker, 'GET', `object/public/${BUCKET}/${keyOf(p)}`),
  ],
  [
    'Storage: info',
    (asker, p) => storage(asker, 'GET', `object/info/authenticated/${BUCKET}/${keyOf(p)}`),
  ],
  [
    'Storage: sign',
    (asker, p) => storage(asker, 'POST', `object/sign/${BUCKET}/${keyOf(p)}`, { expiresIn: 60 }),
  ],
  [
    'Storage: list',
    (asker, p) => storage(asker, 'POST', `object/list/${BUCKET}`, { prefix: `${p}/generations` }),
  ],
];
/** The same of what is deleted. */
const WAYS_TO_DELETED: typeof WAYS_PAST = [
  [
    'RPC: storage_list_deleted',
    (asker, p) => rpc(asker, 'storage_list_deleted', { p_project_id: p, p_limit: 10 }),
  ],
  [
    'RPC: storage_delete_generation, for good',
    (asker, p) => rpc(asker, 'storage_delete_generation', { ...version(p), p_purge: true }),
  ],
  [
    'RPC: storage_delete_project, for good',
    (asker, p) =>
      rpc(asker, 'storage_delete_project', { p_project_id: p, p_limit: 10, p_purge: true }),
  ],
  [
    'RPC: storage_undelete_generation',
    (asker, p) => rpc(asker, 'storage_undelete_generation', version(p)),
  ],
  [
    'RPC: storage_undelete_project',
    (asker, p) => rpc(asker, 'storage_undelete_project', { p_project_id: p }),
  ],
];
/** What the service role alone may call, with what it takes. */
const SERVICE_FUNCTIONS: Record<string, (project: string) => object> = {
  storage_get_generation_of: (p) => ({ ...version(p), p_owner_id: owner.id }),
  storage_list_changes: () => ({ p_limit: 10 }),
  storage_list_unneeded: () => ({ p_limit: 10 }),
  storage_check_in: () => ({ p_host_id: owner.id, p_count: 0 }),
  storage_reserve_generation: (p) => ({ p_item: { ...ITEM, project_id: p } }),
  storage_record_generation: (p) => ({ p_item: { ...ITEM, project_id: p } }),
  storage_reserve_generations: (p) => ({ p_items: [{ ...ITEM, project_id: p }] }),
  storage_record_generations: (p) => ({ p_items: [{ ...ITEM, project_id: p }] }),
  storage_record_failure: (p) => ({
    ...{ ...version(p), p_generation_id: 'g' },
    ...{ p_digest: 'x', p_reason: 'none' },
  }),
  storage_record_damage: (p) => ({ ...version(p), p_bucket: BUCKET, p_object_key: keyOf(p) }),
  storage_record_deletion: (p) => ({ ...version(p), p_generation_id: 'g', p_bucket: BUCKET }),
  storage_record_removals: (p) => ({ p_objects: [{ bucket: BUCKET, object_key: keyOf(p) }] }),
  storage_unneeded_of: (p) => version(p),
  storage_today: () => ({}),
  storage_add_usage: () => ({ p_changes: [] }),
  storage_allow_listening: () => ({}),
  storage_object_of: (p) => ({ p_bucket: BUCKET, p_object_key: keyOf(p) }),
  storage_free_key: (p) => ({
    ...{ ...version(p), p_generation_id: 'g' },
    ...{ p_bucket: BUCKET, p_sha256: 'x' },
  }),
  storage_note_keys: (p) => ({ ...version(p), p_bucket: BUCKET, p_object_keys: [keyOf(p)] }),
  storage_set_owner: (p) => ({ p_project_id: p, p_owner_id: stranger.id }),
  storage_mark_deleted: (p) => version(p),
  storage_keep_until: () => ({}),
  storage_last_change: () => ({}),
  storage_give_up: (p) => version(p),
  storage_undelete: (p) => ({ ...version(p), p_generation_id: null }),
  storage_record_undeletion: (p) => ({ ...version(p), p_generation_id: null }),
  storage_purge: () => ({ p_limit: 1 }),
  storage_revive: (p) => version(p),
  storage_follow_link: () => ({ p_id: owner.id, p_is_counted: true }),
  storage_count_download: (p) => ({ p_generation: { project_id: p, archive_bytes: 1 } }),
  storage_add_replica: () => ({ p_name: 'far', p_bucket: BUCKET, p_region: 'x' }),
  storage_forget_replica: () => ({ p_name: 'far' }),
  storage_owe_copies: () => ({ p_replica: 'far', p_limit: 1 }),
  storage_claim_copies: () => ({ p_replica: 'far', p_host_id: null, p_limit: 1 }),
  storage_note_copies: () => ({ p_replica: 'far', p_items: [] }),
  storage_list_copies: () => ({ p_replica: 'far', p_limit: 1 }),
  storage_copies_of: (p) => ({ p_bucket: BUCKET, p_object_key: keyOf(p) }),
  storage_count_copies: () => ({}),
  storage_lose_copies: () => ({ p_replica: 'far', p_items: [] }),
  storage_claim_replica_projects: () => ({ p_replica: 'far', p_limit: 1 }),
  storage_record_replica_projects: () => ({ p_replica: 'far', p_items: [] }),
};
const ITEM = {
  version: 1,
  generation_id: 'g',
  bucket: BUCKET,
  object_key: 'k',
  digest: 'x',
  sha256: 'x',
  archive_bytes: 1,
  source_bytes: 1,
  file_count: 1,
  created_at: '2026-01-01T00:00:00Z',
  status: 'uploaded',
  replace: false,
};

/** Nobody at all may do these, not even the owner. */
const FORBIDDEN: [string, (asker: Asker, project: string) => Promise<unknown>][] = [
  [
    'Storage: upload',
    (asker, p) => storage(asker, 'POST', `object/${BUCKET}/${p}/generations/x`, 'x'),
  ],
  ['Storage: overwrite', (asker, p) => storage(asker, 'PUT', `object/${BUCKET}/${keyOf(p)}`, 'x')],
  [
    'Storage: remove',
    (asker, p) => storage(asker, 'DELETE', `object/${BUCKET}`, { prefixes: [keyOf(p)] }),
  ],
  [
    'REST: insert',
    (asker) => rest(asker, 'POST', 'storage_projects', { id: uniqueId(), owner_id: owner.id }),
  ],
  [
    'REST: update',
    (asker, p) => rest(asker, 'PATCH', `storage_projects?id=eq.${p}`, { owner_id: stranger.id }),
  ],
  [
    'REST: what is used',
    (asker, p) => rest(asker, 'GET', `storage_usage_daily?project_id=eq.${p}`),
  ],
  ...['storage_links', 'storage_replicas', 'storage_copies', 'storage_replica_projects'].map(
    (table): [string, (asker: Asker) => Promise<unknown>] => [
      `REST: ${table}`,
      (asker) => rest(asker, 'GET', table),
    ],
  ),
  ['REST: a price', (asker) => rest(asker, 'POST', 'storage_settings', { name: 'x', value: 1 })],
  ['REST: delete', (asker, p) => rest(asker, 'DELETE', `storage_generations?project_id=eq.${p}`)],
  ...Object.entries(SERVICE_FUNCTIONS).map(
    ([name, args]): [string, (asker: Asker, project: string) => Promise<unknown>] => [
      `RPC: ${name}`,
      (asker, p) => rpc(asker, name, args(p)),
    ],
  ),
];

type Asker = { apikey: string; token: string | null };
const version = (project: string) => ({ p_project_id: project, p_version: 1 });
const keyOf = (project: string) => `${project}/generations/v1__g.tar.gz`;

/** The status of the last answer, for the one test that needs it. */
let lastStatus = 0;

async function send(asker: Asker, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(`${inject('stack').SUPABASE_URL}${path}`, {
    method,
    headers: {
      apikey: asker.apikey,
      prefer: 'return=representation',
      ...(asker.token === null ? {} : { authorization: `Bearer ${asker.token}` }),
      ...(body === undefined || method === 'GET' ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  lastStatus = answer.status;
  if (!answer.ok) return null;
  if (!/json/.test(answer.headers.get('content-type') ?? '')) return text || null;
  const value = JSON.parse(text);
  const isNothing =
    value === null || value === false || (Array.isArray(value) && value.length === 0);
  return isNothing ? null : value;
}
const rest = (asker: Asker, method: string, path: string, body?: unknown) =>
  send(asker, method, `/rest/v1/${path}`, body);
const rows = (asker: Asker, table: string, column: string, project: string) =>
  rest(asker, 'GET', `${table}?${column}=eq.${project}`);
const rpc = (asker: Asker, name: string, args: object) => rest(asker, 'POST', `rpc/${name}`, args);
const storage = (asker: Asker, method: string, path: string, body?: unknown) =>
  send(asker, method, `/storage/v1/${path}`, body);

describe('past the function', () => {
  const stack = () => inject('stack');
  const user = async (token: string | null | Promise<string | null>): Promise<Asker> => ({
    apikey: stack().SUPABASE_PUBLISHABLE_KEY,
    token: await token,
  });
  const others: [string, () => Promise<Asker>][] = [
    ['no token', () => user(null)],
    ['garbage', () => user('garbage')],
    ['expired', () => user(signToken({ sub: owner.id }, { expiresIn: -60 }))],
    ['forged', () => user(signToken({ sub: owner.id }, { secret: 'x'.repeat(40) }))],
    [
      'anon key',
      async () => ({ apikey: stack().SUPABASE_ANON_KEY, token: stack().SUPABASE_ANON_KEY }),
    ],
    ['another user', () => user(stranger.token)],
  ];

  describe.each(WAYS_PAST)('%s', (name, ask) => {
    test.each(others)('%s gets nothing', async (_, makeAsker) => {
      const asker = await makeAsker();
      for (const project of [...Object.values(projects), ...Object.values(deletedProjects)]) {
        expect(await ask(asker, project), project).toBeNull();
      }
    });

    test('the owner gets what is there, and of what is deleted nothing', async () => {
      const asker = await user(owner.token);
      // These change what they are asked about.
      const project = name.includes('delete') ? await makeProject() : projects.existing;
      const isPublic = name.endsWith('public');
      if (isPublic) expect(await ask(asker, project)).toBeNull();
      else expect(await ask(asker, project)).not.toBeNull();
      expect(await ask(asker, projects.missing)).toBeNull();
      for (const state of ['kept', 'purged'] as const) {
        expect(await ask(asker, deletedProjects[state]), state).toBeNull();
        // The project is still there, and empty.
        if (!/storage_projects|delete_project|list_generations/.test(name)) {
          expect(await ask(asker, projects[state]), state).toBeNull();
        }
      }
    });
  });

  describe.each(WAYS_TO_DELETED)('%s', (_, ask) => {
    test.each(others)('%s gets nothing of what is deleted', async (_, makeAsker) => {
      const asker = await makeAsker();
      for (const project of [projects.kept, deletedProjects.kept, projects.missing]) {
        expect(await ask(asker, project), project).toBeNull();
      }
    });

    test('its owner gets at it', async () => {
      const project = await makeProject();
      expect((await call(owner.token, 'DELETE', `/projects/${project}`)).status).toBe(200);
      expect(await ask(await user(owner.token), project)).not.toBeNull();
    });
  });

  describe.each(FORBIDDEN)('%s', (_, ask) => {
    test.each([...others, ['the owner', () => user(owner.token)] as const])(
      '%s may not',
      async (_, makeAsker) => {
        expect(await ask(await makeAsker(), projects.existing)).toBeNull();
      },
    );
  });

  test('the service may: what is refused above is there, and asked for as it must be', async () => {
    const { SUPABASE_SERVICE_KEY: key } = stack();
    for (const [name, ask] of FORBIDDEN) {
      await ask({ apikey: key, token: key }, await makeProject());
      // 409: a row that others hang on.
      expect([200, 201, 204, 409], name).toContain(lastStatus);
    }
  });

  test('nothing happened to it meanwhile, by any of these', async () => {
    const shown = await call(owner.token, 'GET', `/projects/${projects.existing}/1/files/a.py`);
    expect([shown.status, await shown.text()]).toEqual([200, 'a\n']);
    const found = await serviceClient()
      .from('storage_projects')
      .select('owner_id')
      .eq('id', projects.existing);
    expect(found.data).toEqual([{ owner_id: owner.id }]);
  });

  test("what has no owner is nobody's", async () => {
    const projectId = uniqueId();
    await putGeneration({ projectId, version: 1, ownerId: null });
    const asker = await user(owner.token);
    for (const [name, ask] of WAYS_PAST) expect(await ask(asker, projectId), name).toBeNull();
    for (const [name, route] of Object.entries(ROUTES)) {
      const answer = await call(owner.token, route.method, route.path(projectId), route.body);
      expect(answer.status, name).toBe(404);
    }
  });
});
