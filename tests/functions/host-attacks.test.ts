/** What a stolen key, or a host that lies, might try. Each attack has its name. */
import { randomBytes, randomUUID } from 'node:crypto';
import { beforeAll, expect, inject, test } from 'vitest';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { callHostsInProcess } from '../support/edge.ts';
import {
  type Answer,
  askWith,
  type MadeItem,
  makeHost,
  makeItem,
  put,
  recordOf,
  saveAs,
  sql,
  type TestHost,
} from '../support/host-key.ts';

const BUCKET = 'codebegen-projects';
const CHUNK = 6 * 1024 * 1024;

let mallory: TestHost;
let victim: TestHost;

beforeAll(async () => {
  [mallory, victim] = [await makeHost(), await makeHost()];
});

const reserve = async (host: TestHost, made: MadeItem, route = '/reserve') =>
  (await host.ask(route, { host_id: made.hostId, items: [made.item] })).body.items[0] as Answer;
const record = async (host: TestHost, made: MadeItem, key: string) =>
  (await host.ask('/record', { items: [recordOf(made, key)] })).body.items[0] as Answer;
const ownerOf = async (projectId: string) => {
  const rows = serviceClient().from('storage_projects').select('owner_id').eq('id', projectId);
  return (await rows).data?.[0]?.owner_id;
};
const generationsOf = async (projectId: string) => {
  const rows = serviceClient().from('storage_generations').select('version, status, digest');
  return (await rows.eq('project_id', projectId).order('version')).data;
};

test("a key at another host's reservation", async () => {
  const made = makeItem(uniqueId());
  const { object_key } = await reserve(victim, made);
  expect((await mallory.ask('/uploads', { object_keys: [object_key] })).body).toEqual({
    items: [],
  });
  expect(await record(mallory, made, object_key)).toMatchObject({ outcome: 'missing' });
  // Nor as the archive of a generation of its own.
  const own = makeItem(uniqueId(), 1, { sha256: made.item.sha256, digest: made.item.digest });
  await reserve(mallory, own);
  expect(await record(mallory, own, object_key)).toMatchObject({ outcome: 'missing' });
});

test('a project without an owner is claimed', async () => {
  const made = makeItem(uniqueId());
  await saveAs(victim, made);
  const { id } = await makeUser();
  const { project_id } = made.item;
  const claim = makeItem(project_id, 2, { owner_id: id });
  expect(await reserve(mallory, claim)).toMatchObject({ outcome: 'conflict' });
  const answer = await mallory.ask('/owner', { project_id, owner_id: id });
  expect(answer.body).toEqual({ outcome: 'missing' });
  expect(await ownerOf(project_id)).toBeNull();
});

test('an owner is set by an equal digest', async () => {
  const made = makeItem(uniqueId());
  await saveAs(victim, made);
  const { id } = await makeUser();
  const { project_id } = made.item;
  for (const version of [1, 2]) {
    const claim = { ...made, item: { ...made.item, version, owner_id: id } };
    for (const route of ['/reserve', '/replace']) {
      expect(await reserve(mallory, claim, route)).toMatchObject({ outcome: 'conflict' });
    }
  }
  // Assigned, it may add to it: not more.
  await sql('storage_assign_projects', { p_name: mallory.name, p_projects: [project_id] });
  const next = { ...made, item: { ...made.item, version: 2, owner_id: id } };
  expect(await reserve(mallory, next)).toMatchObject({ outcome: 'reserved', owner_id: null });
  expect(await ownerOf(project_id)).toBeNull();
});

test("v8 is added to a user's project that is not assigned", async () => {
  const { id } = await makeUser();
  const project = uniqueId();
  await serviceClient().from('storage_projects').insert({ id: project, owner_id: id });
  expect(await reserve(mallory, makeItem(project, 8))).toMatchObject({
    outcome: 'conflict',
    cause: 'project',
  });
  expect(await generationsOf(project)).toEqual([]);
});

test('a token for one key is used for another', async () => {
  const [one, two] = [makeItem(uniqueId()), makeItem(uniqueId())];
  const { upload } = await reserve(mallory, one);
  const { object_key: other } = await reserve(victim, two);
  for (const key of [other, `${one.item.project_id}/project.json`, `${upload.object_key}.x`]) {
    const sent = await put(upload, one.bytes, key);
    expect(sent.ok, key).toBe(false);
    expect((await serviceClient().storage.from(BUCKET).info(key)).data, key).toBeNull();
  }
});

test('a PUT is made twice', async () => {
  const made = makeItem(uniqueId());
  const { upload } = await reserve(mallory, made);
  expect((await put(upload, made.bytes)).ok).toBe(true);
  const again = await put(upload, Buffer.alloc(made.bytes.length));
  expect(await again.json()).toMatchObject({ statusCode: '409' });
  expect(await record(mallory, made, upload.object_key)).toMatchObject({ status: 'verified' });
  expect((await put(upload, Buffer.from('later'))).ok).toBe(false);
});

/** Begins an upload in chunks. */
function begin(token: string, objectName: string, bytes: number) {
  const metadata = { bucketName: BUCKET, objectName, contentType: 'application/gzip' };
  return fetch(`${inject('stack').SUPABASE_URL}/storage/v1/upload/resumable/sign`, {
    method: 'POST',
    headers: {
      'tus-resumable': '1.0.0',
      'x-signature': token,
      'upload-length': String(bytes),
      'upload-metadata': Object.entries(metadata)
        .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
        .join(','),
    },
  });
}

test('an upload in chunks names another object', async () => {
  const [made, other] = [makeItem(uniqueId()), makeItem(uniqueId())];
  const { upload } = await reserve(mallory, made);
  const { object_key } = await reserve(victim, other);
  for (const name of [object_key, `${made.item.project_id}/project.json`]) {
    const begun = await begin(upload.token, name, 10);
    expect(begun.status, name).toBe(400);
    expect(await begun.text()).toMatch(/signature/i);
  }
});

test('what was never uploaded is recorded', async () => {
  const made = makeItem(uniqueId());
  const { object_key } = await reserve(mallory, made);
  expect(await record(mallory, made, object_key)).toMatchObject({ outcome: 'absent' });
  const claimed = recordOf(made, object_key, { status: 'verified' });
  const answer = await mallory.ask('/record', { items: [claimed] });
  expect(answer.body.items).toMatchObject([{ outcome: 'absent' }]);
  expect(await generationsOf(made.item.project_id)).toMatchObject([{ status: 'pending' }]);
});

test('a record is said again after a deletion, and after a purge', async () => {
  const made = makeItem(uniqueId());
  const key = await saveAs(mallory, made);
  const { project_id, version, generation_id } = made.item;
  const deletion = { digests: null, deleted_at: null, epoch: 0, host_id: made.hostId };
  await mallory.ask('/delete', { project_id, version, generation_id, ...deletion });
  expect(await record(mallory, made, key)).toMatchObject({ outcome: 'deleted' });
  const due = { purge_at: new Date(Date.now() - 1000).toISOString() };
  await serviceClient().from('storage_generations').update(due).eq('project_id', project_id);
  await mallory.ask('/purge', {});
  expect(await record(mallory, made, key)).toMatchObject({ outcome: 'deleted' });
  expect(await generationsOf(project_id)).toMatchObject([{ status: 'deleted' }]);
  expect((await mallory.ask('/download', { items: [{ project_id, version }] })).body.items).toEqual(
    [{ project_id, version, object_key: null }],
  );
});

test('an id differs in case', async () => {
  const made = makeItem(uniqueId('case'));
  await saveAs(victim, made);
  const upper = made.item.project_id.toUpperCase();
  expect(await reserve(mallory, makeItem(upper))).toMatchObject({
    outcome: 'conflict',
    cause: 'project',
  });
  expect(
    (await mallory.ask('/find', { items: [{ project_id: upper, version: 1 }] })).body.items,
  ).toMatchObject([{ row: null }]);
  expect(await generationsOf(upper)).toEqual([]);
});

test('projects by a prefix', async () => {
  const prefix = uniqueId('pre');
  const host = await makeHost({ projects: [prefix, `${prefix}-*`, `${prefix}%`] });
  const { id } = await makeUser();
  for (const project of [`${prefix}-shop`, `${prefix}x`, prefix.slice(0, -1)]) {
    await serviceClient().from('storage_projects').insert({ id: project, owner_id: id });
    expect(await reserve(host, makeItem(project)), project).toMatchObject({ cause: 'project' });
  }
  expect(await reserve(host, makeItem(prefix))).toMatchObject({ outcome: 'reserved' });
});

test('a batch mixes own and foreign', async () => {
  const [own, foreign] = [makeItem(uniqueId()), makeItem(uniqueId())];
  const foreignKey = await saveAs(victim, foreign);
  const mixed = [makeItem(foreign.item.project_id, 2), own];
  const answer = await mallory.ask('/reserve', {
    host_id: randomUUID(),
    items: mixed.map(({ item }) => item),
  });
  const of = (items: Answer[], { item }: MadeItem) =>
    items.find(({ project_id }) => project_id === item.project_id);
  expect(of(answer.body.items, foreign)).toMatchObject({ outcome: 'conflict', upload: null });
  const { upload } = of(answer.body.items, own)!;
  await put(upload, own.bytes);
  const recorded = await mallory.ask('/record', {
    items: [recordOf(foreign, foreignKey), recordOf(own, upload.object_key)],
  });
  expect(of(recorded.body.items, foreign)).toMatchObject({ outcome: 'missing' });
  expect(of(recorded.body.items, own)).toMatchObject({ outcome: 'recorded', status: 'verified' });
  const asked = [foreign, own].map(({ item: { project_id, version } }) => ({
    project_id,
    version,
  }));
  const found = (await mallory.ask('/find', { items: asked })).body.items as Answer[];
  expect(of(found, foreign)!.row).toBeNull();
  expect(of(found, own)!.row).toMatchObject({ status: 'verified' });
  const downloads = (await mallory.ask('/download', { items: asked })).body.items as Answer[];
  expect(of(downloads, foreign)).toMatchObject({ object_key: null });
  expect(of(downloads, own)!.url).toContain('token=');
});

test('a key is revoked in the middle of an upload in chunks', async () => {
  const host = await makeHost();
  const bytes = randomBytes(CHUNK + 1000);
  const made = makeItem(uniqueId(), 1, { archive_bytes: bytes.length });
  const { upload } = await reserve(host, made);
  const begun = await begin(upload.token, upload.object_key, bytes.length);
  const url = begun.headers.get('location')!;
  const send = (from: number, to: number) =>
    fetch(url, {
      method: 'PATCH',
      headers: {
        'tus-resumable': '1.0.0',
        'x-signature': upload.token,
        'upload-offset': String(from),
        'content-type': 'application/offset+octet-stream',
      },
      body: new Uint8Array(bytes.subarray(from, to)),
    });
  expect((await send(0, CHUNK)).status).toBe(204);
  await sql('storage_revoke_host', { p_name: host.name });
  // The token outlives it. What comes of it no row takes, and nobody reads.
  await send(CHUNK, bytes.length);
  const recorded = await host.ask('/record', { items: [recordOf(made, upload.object_key)] });
  expect(recorded.status).toBe(401);
  expect(await generationsOf(made.item.project_id)).toMatchObject([{ status: 'pending' }]);
});

test("a scratch object of another's key", async () => {
  const owner = await makeHost();
  const begun = (await owner.ask('/scratch', { do: 'begin' })).body;
  const { name, upload } = begun;
  const files = serviceClient().storage.from(upload.bucket);
  const put = await files.uploadToSignedUrl(upload.object_key, upload.token, 'scratch');
  expect(put.error).toBeNull();
  expect((await mallory.ask('/scratch', { do: 'sign', name })).body).toMatchObject({ url: null });
  expect((await mallory.ask('/scratch', { do: 'end', name })).status).toBe(200);
  expect((await files.info(upload.object_key)).data).not.toBeNull();
  for (const path of ['../x', 'p/generations/v1__g', `${name}/../..`]) {
    const answer = await mallory.ask('/scratch', { do: 'end', name: path });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
  }
  await owner.ask('/scratch', { do: 'end', name });
  expect((await files.info(upload.object_key)).data).toBeNull();
});

test('a batch of 32 manifests of 5 MB', async () => {
  const made = makeItem(uniqueId());
  const { object_key } = await reserve(mallory, made);
  const large = { schema: 2, metadata: { text: 'x'.repeat(5 * 1024 * 1024) } };
  const item = recordOf(made, object_key, { manifest: large });
  // Here, where no gateway ends the connection before all was sent.
  const ask = askWith(mallory.key, callHostsInProcess());
  const answer = await ask('/record', { items: Array(32).fill(item) });
  expect(answer).toMatchObject({ status: 413, body: { code: 'too_large' } });
  expect(answer.body.detail).toContain('4194304 bytes');
  const many = await mallory.ask('/find', {
    items: Array(33).fill({ project_id: made.item.project_id, version: 1 }),
  });
  expect(many).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
  expect(many.body.detail).toContain('at most 32');
});
