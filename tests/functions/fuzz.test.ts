/** Calls made from the OpenAPI document, sound and hostile: never a 500, never undescribed. */

import { beforeAll, expect, test } from 'vitest';
import { makeUser, type TestUser, uniqueId } from '../support/cloud.ts';
import { type Call, callGateway, callHosts } from '../support/edge.ts';
import { callOf, isOther, urlOf } from '../support/fuzz.ts';
import { putGeneration } from '../support/generation.ts';
import { makeHost, makeKey } from '../support/host-key.ts';
import { getDocument, type Operation, operationsOf } from '../support/openapi.ts';
import { fc } from '../support/properties.ts';
import { makeTarGz } from '../support/tar.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 42);
const CALLS_A_RUN = 16;

let owner: TestUser;
let stranger: TestUser;

beforeAll(async () => {
  [owner, stranger] = [await makeUser(), await makeUser()];
});

/** Makes calls, and looks at each answer. @returns how often each status came */
async function fuzz(
  operations: Operation[],
  call: Call,
  tokens: Record<string, string>,
): Promise<Map<number, number>> {
  const seen = new Map<number, number>();
  const anyCall = fc.constantFrom(...operations).chain(callOf);
  const calls = fc.array(anyCall, { minLength: CALLS_A_RUN, maxLength: CALLS_A_RUN });
  await fc.assert(
    fc.asyncProperty(calls, async (some) => {
      const projectId = await makeProject();
      await Promise.all(
        some.map(async (fuzzed) => {
          const { operation, token, headers } = fuzzed;
          const url = urlOf(fuzzed, projectId);
          const body = fuzzed.body?.toWellFormed().replaceAll('$PROJECT', projectId) ?? null;
          const answer = await call(operation.method, url, {
            headers: {
              ...headers,
              ...(tokens[token] === undefined ? {} : { authorization: `Bearer ${tokens[token]}` }),
            },
            ...(operation.method === 'GET' || body === null ? {} : { body }),
          });
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
          const type = answer.headers.get('content-type') ?? '';
          const text = await answer.text();
          const what = `${operation.method} ${url} ${body} → ${answer.status} ${text.slice(0, 300)}`;
          expect(answer.status, what).toBeLessThan(500);
          if (answer.status >= 400) {
            const problem = JSON.parse(text);
            expect(type, what).toBe('application/problem+json');
            expect(problem.request_id, what).toBe(answer.headers.get('x-request-id'));
            expect(text, what).not.toMatch(/ at .*\.ts|storage_\w+|PGRST|select /i);
          }
          if (isOther(fuzzed, url, projectId)) return;
          const json = /json/.test(type) ? JSON.parse(text) : null;
          expect(operation.check(answer.status, type, json), what).toBeNull();
        }),
      );
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
  return seen;
}

test(`${RUNS * CALLS_A_RUN} calls in Deno, through the gateway`, async () => {
  const tokens = { owner: owner.token, stranger: stranger.token, garbage: 'garbage' };
  const seen = await fuzz(operationsOf(await getDocument()), callGateway(), tokens);
  // It got through to what there is, and was refused in each of the ways.
  for (const status of [200, 201, 400, 401, 404, 409]) expect([...seen.keys()]).toContain(status);
});

test(`${RUNS * CALLS_A_RUN} calls of a host`, async () => {
  const [host, keeper] = [await makeHost({ read: 'all' }), await makeHost({ delete: 'none' })];
  const tokens = { owner: host.key, stranger: keeper.key, garbage: makeKey() };
  const seen = await fuzz(operationsOf(await getDocument(callHosts())), callHosts(), tokens);
  for (const status of [200, 400, 401, 403]) expect([...seen.keys()]).toContain(status);
});

async function makeProject(): Promise<string> {
  const projectId = uniqueId('fuzz');
  const archive = makeTarGz([
    { name: 'v1__gen-1/source/a.py', content: 'a\n' },
    { name: 'v1__gen-1/source/b/c.py', content: projectId },
  ]);
  for (const version of [1, 2]) {
    await putGeneration({ projectId, version, ownerId: owner.id, archive });
  }
  await putGeneration({ projectId, version: 3, ownerId: owner.id, status: 'pending' });
  return projectId;
}
