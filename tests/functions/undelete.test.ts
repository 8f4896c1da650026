/** What a user deletes is gone at once, and comes back whole. */
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { allItems, type Client, createClient } from '../../functions/client/index.ts';
import { makeUser, serviceClient, type TestUser, uniqueId, userClient } from '../support/cloud.ts';
import { asUser, callGateway } from '../support/edge.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';

const BUCKET = 'codebegen-projects';
const WEEK_MS = 7 * 86_400_000;

let owner: TestUser;
let client: Client;
const clientOf = (user: TestUser) =>
  createClient(inject('stack').SUPABASE_URL, async () => user.token);

beforeAll(async () => {
  owner = await makeUser();
  client = clientOf(owner);
});

const save = (projectId: string, version: number, files: Record<string, string>, more = {}) =>
  saveToCloud({ projectId, version, ownerId: owner.id, files, ...more });

/** All that a user sees of a generation: what each route says, URLs that are good for a while aside. */
async function look(project: string, version: number) {
  const { download_url: _, ...shown } = await client.showGeneration(project, version);
  const { items } = await client.listFiles(project, version);
  const texts: Record<string, string> = {};
  for (const { path } of items) {
    texts[path] = await (await client.getFile(project, version, path)).text();
  }
  const { url, sha256 } = await client.downloadGeneration(project, version);
  const zip = await client.downloadGeneration(project, version, { format: 'zip' });
  const sizes = [];
  for (const link of [url, zip.url])
    sizes.push((await (await fetch(link)).arrayBuffer()).byteLength);
  return { shown, items, texts, sha256, sizes };
}

const listed = async (project: string) =>
  (await client.listGenerations(project)).items.map(({ version }) => version);
const deletedOf = async (project: string) => (await client.listDeletedGenerations(project)).items;

test('a deletion is undone: files, archive, zip, metadata, active mark and usage are what they were', async () => {
  const project = uniqueId();
  await save(project, 1, { 'a.py': 'one\n' });
  const receipt = await save(
    project,
    2,
    { 'a.py': 'two\n', 'd/ü.txt': 'ü' },
    { metadata: { by: 'me' } },
  );
  await client.activateGeneration(project, 2);
  const [before, usage] = [await look(project, 2), await client.showUsage()];
  const { url: link } = await client.downloadGeneration(project, 2, { format: 'zip' });

  const deleted = await client.deleteGeneration(project, 2);
  const until = Date.parse(deleted.undelete_until!) - Date.now();
  expect(Math.abs(until - WEEK_MS)).toBeLessThan(60_000);
  expect(await listed(project)).toEqual([1]);
  const call = asUser(callGateway(), owner);
  for (const [method, path] of [
    ['GET', ''],
    ['GET', '/files'],
    ['GET', '/files/a.py'],
    ['GET', '/archive.zip'],
    ['POST', '/download'],
    ['POST', '/activate'],
    ['DELETE', ''],
  ] as const) {
    expect((await call(method, `/projects/${project}/2${path}`)).status, path).toBe(404);
  }
  expect((await fetch(link)).status).toBe(404);
  const { bucket, key } = {
    bucket: BUCKET,
    key: `${project}/generations/v2__${receipt.generationId}.tar.gz`,
  };
  expect((await userClient(owner).storage.from(bucket).download(key)).error).not.toBeNull();
  expect((await serviceClient().storage.from(bucket).exists(key)).data).toBe(true);
  expect((await client.showUsage()).generations).toBe(usage.generations - 1);
  expect(await deletedOf(project)).toMatchObject([
    { version: 2, status: 'deleted', undelete_until: deleted.undelete_until, replaced: [] },
  ]);

  expect(await client.undeleteGeneration(project, 2)).toMatchObject({
    ...{ version: 2, generation_id: receipt.generationId, status: 'verified' },
    digest: receipt.digest,
  });
  expect(await look(project, 2)).toEqual(before);
  expect((await fetch(link)).status).toBe(200);
  expect(await client.showUsage()).toEqual(usage);
  expect(await deletedOf(project)).toEqual([]);
  // There is nothing more to undo.
  expect(await client.undeleteGeneration(project, 2)).toMatchObject({ status: 'verified' });
});

test('a project comes back with what was deleted with it, and with what was active', async () => {
  const project = uniqueId();
  for (const version of [1, 2, 3])
    await putGeneration({ projectId: project, version, ownerId: owner.id });
  await client.activateGeneration(project, 3);
  await client.deleteGeneration(project, 1);
  const { undelete_until } = await client.deleteProject(project);
  expect(undelete_until).not.toBeNull();
  await expect(client.listGenerations(project)).rejects.toMatchObject({ code: 'not_found' });
  const pages = (cursor: string | undefined) =>
    client.listDeletedProjects({ limit: 1, ...(cursor === undefined ? {} : { cursor }) });
  const found = [];
  for await (const item of allItems(pages)) if (item.id === project) found.push(item);
  expect(found).toMatchObject([{ versions: 2, undelete_until }]);
  // While it is deleted, what can be undone in it can be seen.
  expect((await deletedOf(project)).map(({ version }) => version)).toEqual([3, 2, 1]);

  expect(await client.undeleteProject(project)).toEqual({ project_id: project, versions: 2 });
  expect(await listed(project)).toEqual([3, 2]);
  const { items } = await client.listProjects({ limit: 200 });
  expect(items.find(({ id }) => id === project)).toMatchObject({ active_version: 3, versions: 2 });
  await client.deleteProject(project);
  await client.undeleteGeneration(project, 1);
  expect(await listed(project)).toEqual([1]);
});

test('content that was replaced comes back, and what took its place is kept in turn', async () => {
  const project = uniqueId();
  const first = await save(project, 1, { 'a.py': 'first\n' });
  const before = await look(project, 1);
  const generationId = first.generationId;
  const second = await save(project, 1, { 'a.py': 'second\n' }, { generationId, replace: true });
  const [held] = await deletedOf(project);
  expect(held).toMatchObject({ version: 1, status: 'verified', deleted_at: null });
  expect(held!.replaced).toMatchObject([{ digest: first.digest, file_count: 1 }]);
  await client.undeleteGeneration(project, 1, { digest: first.digest });
  expect(await look(project, 1)).toEqual(before);
  expect((await deletedOf(project))[0]!.replaced).toMatchObject([{ digest: second.digest }]);
  // From a deleted one, too.
  await client.deleteGeneration(project, 1);
  await client.undeleteGeneration(project, 1, { digest: second.digest });
  expect(await (await client.getFile(project, 1, 'a.py')).text()).toBe('second\n');
  await expect(
    client.undeleteGeneration(project, 1, { digest: 'f'.repeat(64) }),
  ).rejects.toMatchObject({ code: 'not_found', message: expect.stringContaining('never held') });
});

test('what is purged is nowhere, and says so', async () => {
  const project = uniqueId();
  const { bucket, key } = await putGeneration({
    projectId: project,
    version: 1,
    ownerId: owner.id,
  });
  await putGeneration({ projectId: project, version: 2, ownerId: owner.id });
  const { url } = await client.downloadGeneration(project, 1);
  await client.deleteGeneration(project, 1);
  const purged = await client.deleteGeneration(project, 1, { purge: true });
  expect(purged.undelete_until).toBeNull();
  expect((await serviceClient().storage.from(bucket).exists(key)).data).toBe(false);
  expect((await fetch(url)).ok).toBe(false);
  expect(await deletedOf(project)).toEqual([]);
  await expect(client.undeleteGeneration(project, 1)).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('it was purged'),
  });
  await client.deleteProject(project, { purge: true });
  await expect(client.deleteProject(project, { purge: true })).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(client.undeleteProject(project)).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining('it was purged'),
  });
  const manifests = serviceClient().from('storage_manifests').select().eq('project_id', project);
  expect((await manifests).data).toEqual([]);
  const rows = serviceClient().from('storage_generations').select('status, sha256, archive_bytes');
  expect((await rows.eq('project_id', project)).data).toEqual(
    [1, 2].map(() => ({ status: 'deleted', sha256: null, archive_bytes: null })),
  );
});

describe('asked for what cannot be', () => {
  test.each([
    ['GET', '/projects?deleted=yes', 'deleted'],
    ['GET', '/projects/p?deleted=1', 'deleted'],
    ['DELETE', '/projects/p/1?purge=now', 'purge'],
    ['DELETE', '/projects/p?purge=', 'purge'],
    ['POST', '/projects/p/1/undelete?digest=abc', 'digest'],
    ['POST', '/projects/p/0/undelete', 'version'],
    ['POST', '/projects/..%2Fp/undelete', 'project'],
    ['GET', '/projects?deleted=true&cursor=nonsense', 'cursor'],
  ])('%s %s is 400 and names %s', async (method, path, field) => {
    const answer = await asUser(callGateway(), owner)(method, path);
    const { code, detail } = await answer.json();
    expect([answer.status, code]).toEqual([400, 'invalid_input']);
    expect(detail).toContain(field);
  });

  test('another generation id is another generation', async () => {
    const project = uniqueId();
    await putGeneration({ projectId: project, version: 1, ownerId: owner.id });
    await client.deleteGeneration(project, 1);
    await expect(
      client.undeleteGeneration(project, 1, { generation: 'other' }),
    ).rejects.toMatchObject({ code: 'not_found' });
  });
});
