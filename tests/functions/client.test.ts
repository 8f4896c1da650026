/** The client in Node: each method, and what is wrong with a call. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { allItems, type Client, createClient, StorageError } from '../../functions/client/index.ts';
import { makeUser, serviceClient, type TestUser, uniqueId } from '../support/cloud.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';

describe('each method', () => {
  let owner: TestUser;
  let storage: Client;
  let project: string;
  const FILES = { '100% #1?.txt': 'odd', 'a%2Fb': 'encoded', 'd/ü.txt': 'ü', ':version': 'colon' };

  beforeAll(async () => {
    owner = await makeUser();
    storage = createClient(`${inject('stack').SUPABASE_URL}/`, async () => owner.token);
    project = uniqueId();
    const save = (version: number, files: Record<string, string>) =>
      saveToCloud({ projectId: project, version, ownerId: owner.id, files });
    await save(1, { 'd/ü.txt': 'u' });
    await save(2, FILES);
  });

  test('projects and versions, page by page', async () => {
    const made = await storage.createProject({ name: 'Shop' });
    const seen: string[] = [];
    const pages = (cursor: string | undefined) =>
      storage.listProjects({ limit: 1, ...(cursor === undefined ? {} : { cursor }) });
    for await (const { id } of allItems(pages)) seen.push(id);
    expect(seen).toEqual([made.id, project]);
    const page = await storage.listGenerations(project, { limit: 1 });
    expect(page).toMatchObject({ items: [{ version: 2 }], next_cursor: '2' });
    expect(await storage.deleteProject(made.id)).toMatchObject({ status: 'deleted' });
    expect(await storage.showUsage()).toMatchObject({ projects: 1, generations: 2 });
    const { days } = await storage.showUsageHistory({ days: 2 });
    expect(days.map(({ generations }) => generations)).toEqual([0, 2]);
  });

  test('one version, its files whatever their names, a diff, a download', async () => {
    const shown = await storage.showGeneration(project, 2);
    expect(shown).toMatchObject({ version: 2, storage: { uploaded: true }, metadata: {} });
    expect(await storage.activateGeneration(project, 1)).toMatchObject({ active_version: 1 });
    const { items } = await storage.listFiles(project, 2);
    expect(items.map(({ path }) => path).sort()).toEqual(Object.keys(FILES).sort());
    for (const [path, content] of Object.entries(FILES)) {
      const file = await storage.getFile(project, 2, path);
      expect([await file.text(), file.type.split(';')[0]], path).toEqual([content, 'text/plain']);
    }
    const diff = await storage.diffGenerations(project, { from: 1, to: 2, unified: true });
    expect(diff.unified).toContain('-u\n');
    const { url } = await storage.downloadGeneration(project, 2, { format: 'zip', expiresIn: 60 });
    expect((await fetch(url)).status).toBe(200);
    expect((await storage.downloadGeneration(project, 2)).sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(await storage.deleteGeneration(project, 1)).toMatchObject({ version: 1 });
  });

  test('names that a URL would take for a way are refused before it is one', async () => {
    const calls = [
      () => storage.getFile(project, 2, '..'),
      () => storage.getFile(project, 2, 'a/../b'),
      () => storage.listGenerations('..'),
      () => storage.showGeneration(project, 0),
      () => storage.diffGenerations(project, { from: 1.5, to: 2 }),
    ];
    for (const call of calls) {
      // None throws at once.
      await expect(call()).rejects.toMatchObject({ code: 'invalid_input' });
    }
  });

  test('waitFor waits for what is not known yet, is on its way, or was given up', async () => {
    const other = uniqueId();
    const waiting = storage.waitFor(other, 1, 'verified', { timeoutMs: 60_000 });
    const ref = { projectId: other, version: 1, ownerId: owner.id };
    await putGeneration({ ...ref, status: 'pending' });
    const service = serviceClient().from('storage_generations');
    const set = (status: string, failure: string | null = null) =>
      service.update({ status, failure }).eq('project_id', other).eq('version', 1);
    expect((await set('uploaded')).error).toBeNull();
    expect(await storage.waitFor(other, 1, 'uploaded')).toMatchObject({ status: 'uploaded' });
    expect((await set('verified')).error).toBeNull();
    expect(await waiting).toMatchObject({ version: 1, status: 'verified' });
    expect((await set('failed', 'the version is held by another')).error).toBeNull();
    await expect(storage.waitFor(other, 1, 'uploaded')).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('the version is held by another'),
    });
    await expect(storage.waitFor('nobody', 1, 'uploaded', { timeoutMs: 50 })).rejects.toMatchObject(
      { code: 'unavailable', message: expect.stringContaining('50 ms') },
    );
    const stop = new AbortController();
    const stopped = storage.waitFor('nobody', 1, 'uploaded', {}, { signal: stop.signal });
    stop.abort(new Error('left the page'));
    await expect(stopped).rejects.toThrow('left the page');
  });
});

describe('what is wrong', () => {
  test('is told by the code of the answer, with the id of the request', async () => {
    const user = await makeUser();
    const { SUPABASE_URL: url } = inject('stack');
    const error = await createClient(url, () => user.token)
      .listGenerations('nothing')
      .catch((error: unknown) => error);
    expect(error).toBeInstanceOf(StorageError);
    expect(error).toMatchObject({
      code: 'not_found',
      retryable: false,
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      message: 'Cannot find "nothing"',
    });
    await expect(createClient(url, () => null).listProjects()).rejects.toMatchObject({
      code: 'unauthenticated',
    });
  });

  test.each([
    [502, 'unavailable'],
    [429, 'rate_limited'],
    [413, 'too_large'],
    [418, 'unavailable'],
  ])('an answer %i of the platform, which is no problem of ours, is %s', async (status, code) => {
    const storage = createClient(await serve(status, '<html>'), () => 'token');
    await expect(storage.listProjects()).rejects.toMatchObject({ code });
  });

  test('no server, an answer that breaks off and one that is no JSON are unavailable', async () => {
    for (const url of [
      'http://127.0.0.1:1',
      await serve(200, '{"items":'),
      await serve(200, null),
    ]) {
      const storage = createClient(url, () => 'token');
      await expect(storage.listProjects()).rejects.toMatchObject({ code: 'unavailable' });
    }
  });

  test('a server, or a token, that never comes is given up', async () => {
    const hanging = await serve(null, '');
    for (const [url, getToken] of [
      [hanging, () => 'token'],
      [hanging, () => new Promise<string>(() => {})],
    ] as const) {
      const storage = createClient(url, getToken, { timeoutMs: 50 });
      await expect(storage.listProjects()).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('50 ms'),
      });
      const reason = new Error('the page is gone');
      const call = createClient(url, getToken).listProjects(
        {},
        { signal: AbortSignal.abort(reason) },
      );
      await expect(call).rejects.toBe(reason);
      const controller = new AbortController();
      const aborted = createClient(url, getToken).listProjects({}, controller);
      controller.abort(reason);
      await expect(aborted).rejects.toBe(reason);
    }
  });

  test('a getToken that fails is the caller’s', async () => {
    const failure = new Error('signed out');
    const storage = createClient('http://127.0.0.1:1', () => Promise.reject(failure));
    await expect(storage.listProjects()).rejects.toBe(failure);
  });
});

/** A server that answers everything in one way: `null` never, or with a body that breaks off. */
async function serve(status: number | null, body: string | null): Promise<string> {
  const server = createServer((_, response) => {
    if (status === null) return;
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': '1000' });
    if (body === null) response.write('{', () => response.destroy());
    else response.write(body, () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
