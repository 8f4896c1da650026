/** Long lists, while they change. */

import { expect, inject, test } from 'vitest';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { asUser, callGateway, callInProcess } from '../support/edge.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { fc } from '../support/properties.ts';

const BUCKET = 'codebegen-projects';

async function insertVersions(projectId: string, versions: readonly number[]): Promise<void> {
  const rows = versions.map((version) => ({
    project_id: projectId,
    version,
    generation_id: `g${version}`,
    bucket: BUCKET,
    object_key: `${projectId}/generations/v${version}__g${version}.tar.gz`,
    status: 'uploaded',
  }));
  for (let i = 0; i < rows.length; i += 2500) {
    const { error } = await serviceClient()
      .from('storage_generations')
      .insert(rows.slice(i, i + 2500));
    expect(error).toBeNull();
  }
}

test('10 000 versions page without gaps or repeats while versions come and go', async () => {
  const owner = await makeUser();
  const projectId = uniqueId();
  await putGeneration({ projectId, version: 1, ownerId: owner.id, object: false });
  // Gaps in the numbers are filled while the list is read.
  const first = Array.from({ length: 10_000 }, (_, i) => 2 * i + 2);
  await insertVersions(projectId, first);
  const present = new Set([1, ...first]);
  const changing = new Set<number>();
  const as = asUser(callGateway(), owner);
  const random = fc.sample(fc.integer({ min: 2, max: 20_000 }), { numRuns: 200, seed: 7 });

  const seen: number[] = [];
  let next = 20_002;
  let query = '?limit=200';
  for (let page = 0; ; page++) {
    const answer = await as('GET', `/projects/${projectId}${query}`);
    expect(answer.status).toBe(200);
    const { items, next_cursor } = await answer.json();
    seen.push(...items.map((item: { version: number }) => item.version));
    if (next_cursor === null) break;
    query = `?limit=200&cursor=${next_cursor}`;
    // The version at the cursor goes, some others too, new ones come at the top and in between.
    const gone = [Number(next_cursor), random[page]! & ~1].filter((version) =>
      present.has(version),
    );
    for (const version of gone) {
      expect((await as('DELETE', `/projects/${projectId}/${version}`)).status).toBe(200);
      present.delete(version);
      changing.add(version);
    }
    const come = [next++, random[page + 100]! | 1].filter((version) => !present.has(version));
    const added = [...new Set(come)].filter((version) => !changing.has(version));
    await insertVersions(projectId, added);
    for (const version of added) changing.add(version);
  }
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => b - a));
  expect(changing.size).toBeGreaterThan(100);
  const steady = [...present].filter((version) => !changing.has(version));
  const seenSet = new Set(seen);
  expect(steady.filter((version) => !seenSet.has(version))).toEqual([]);
});

test('the tree of 6 000 files comes in two pages, each of one query', async () => {
  const owner = await makeUser();
  const projectId = uniqueId();
  const files = Object.fromEntries(
    Array.from({ length: 6000 }, (_, i) => [`d${i % 77}/f${i}.txt`, String(i)]),
  );
  await saveToCloud({ projectId, ownerId: owner.id, files });
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  const path = `/projects/${projectId}/1/files?limit=5000`;
  const first = await (await as('GET', path)).json();
  const cursor = encodeURIComponent(first.next_cursor);
  const second = await (await as('GET', `${path}&cursor=${cursor}`)).json();
  expect(proxy.seen).toHaveLength(2);
  const paths = [...first.items, ...second.items].map((file: { path: string }) => file.path);
  expect([first.items.length, second.next_cursor]).toEqual([5000, null]);
  expect(paths).toEqual(Object.keys(files).sort());
});

test('a list costs one query, a download one query and one signing call', async () => {
  const owner = await makeUser();
  const projectId = uniqueId();
  await putGeneration({ projectId, version: 1, ownerId: owner.id });
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  for (const [method, path, requests] of [
    ['GET', '/projects', ['/rest/v1/rpc']],
    ['GET', `/projects/${projectId}`, ['/rest/v1/rpc']],
    ['GET', '/usage', ['/rest/v1/rpc']],
    ['GET', '/usage/history', ['/rest/v1/rpc']],
    ['POST', `/projects/${projectId}/1/download`, ['/rest/v1/rpc', '/storage/v1/object']],
  ] as const) {
    proxy.seen = [];
    expect((await as(method, path)).status).toBe(200);
    const seen = proxy.seen.map((request) => /\/\w+\/v1\/\w+/.exec(request)?.[0]);
    expect(seen, path).toEqual(requests);
  }
});
