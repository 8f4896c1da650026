/** Whatever happened: what is listed can be downloaded, and nothing else. */

import { expect, inject, onTestFinished, test } from 'vitest';
import { makeUser, serviceClient, type TestUser, uniqueId, userClient } from '../support/cloud.ts';
import { asUser, callInProcess } from '../support/edge.ts';
import { first, startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration } from '../support/generation.ts';
import { fc } from '../support/properties.ts';
import { makeTarGz } from '../support/tar.ts';

const BUCKET = 'codebegen-projects';
const VERSIONS = [1, 2, 3];

type Step =
  | { kind: 'put'; version: number; status: 'pending' | 'uploaded' }
  | { kind: 'delete'; version: number; purge: boolean; fails: 'never' | 'object' | 'record' }
  | { kind: 'delete project'; purge: boolean; fails: 'never' | 'object' | 'record' }
  | { kind: 'undelete'; version: number }
  | { kind: 'undelete project' };

const version = fc.constantFrom(...VERSIONS);
const fails = fc.constantFrom('never' as const, 'object' as const, 'record' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      version,
      status: fc.constantFrom('pending' as const, 'uploaded' as const),
    }),
    weight: 5,
  },
  {
    arbitrary: fc.record({
      ...{ kind: fc.constant('delete' as const), version, fails },
      purge: fc.boolean(),
    }),
    weight: 4,
  },
  {
    arbitrary: fc.record({
      ...{ kind: fc.constant('delete project' as const), fails },
      purge: fc.boolean(),
    }),
    weight: 1,
  },
  { arbitrary: fc.record({ kind: fc.constant('undelete' as const), version }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant('undelete project' as const) }), weight: 1 },
);

test('deletions that fail anywhere, undone or not, leave nothing listed that is gone, and nothing readable', async () => {
  const owner = await makeUser();
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  // What fails on purpose is logged; here it would drown the rest.
  const { error } = console;
  console.error = () => {};
  onTestFinished(() => {
    console.error = error;
  });
  const faults = {
    never: () => null,
    object: () => first(1, /^DELETE .*\/storage\//, { kind: 'answer', status: 500 }),
    record: () => first(1, /storage_record_removals/, { kind: 'down' }),
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 10 }), async (steps) => {
      const projectId = uniqueId();
      for (const step of steps) {
        if (step.kind === 'put') {
          // A version that is deleted is not given again.
          await putGeneration({ projectId, ownerId: owner.id, archive, ...step }).catch(() => {});
        } else {
          const path = `/projects/${projectId}${'version' in step ? `/${step.version}` : ''}`;
          if ('fails' in step) proxy.rule = faults[step.fails]() ?? (() => null);
          const answer =
            'fails' in step
              ? await as('DELETE', `${path}?purge=${step.purge}`)
              : await as('POST', `${path}/undelete`);
          expect([200, 404, 503]).toContain(answer.status);
          proxy.rule = () => null;
        }
        await checkAll(as, owner, projectId);
      }
      // A repeat finishes whatever was left.
      await as('DELETE', `/projects/${projectId}?purge=true`);
      expect((await as('DELETE', `/projects/${projectId}?purge=true`)).status).toBe(404);
      const left = await serviceClient().storage.from(BUCKET).list(`${projectId}/generations`);
      expect(left.data).toEqual([]);
    }),
    { numRuns: 8 },
  );
});

const archive = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'a' }]);

/** Compares what the list says with what each way to read gives. */
async function checkAll(as: ReturnType<typeof asUser>, owner: TestUser, projectId: string) {
  const answer = await as('GET', `/projects/${projectId}`);
  const items = answer.status === 200 ? (await answer.json()).items : [];
  const listed = new Map<number, string>(
    items.map((item: { version: number; status: string }) => [item.version, item.status]),
  );
  for (const version of VERSIONS) {
    const status = listed.get(version);
    const key = `${projectId}/generations/v${version}__gen-${version}.tar.gz`;
    const path = `/projects/${projectId}/${version}`;
    const { data } = await userClient(owner).storage.from(BUCKET).createSignedUrl(key, 60);
    const signed = await as('POST', `${path}/download`);
    const file = await as('GET', `${path}/files/a`);
    const what = `v${version} is ${status ?? 'not there'}`;
    expect(data !== null, what).toBe(status === 'uploaded');
    const expected = status === undefined ? 404 : status === 'uploaded' ? 200 : 409;
    expect([signed.status, file.status], what).toEqual([expected, expected]);
    if (signed.status !== 200) continue;
    const bytes = Buffer.from(await (await fetch((await signed.json()).url)).arrayBuffer());
    expect(bytes.equals(archive), what).toBe(true);
  }
}
