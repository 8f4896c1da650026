/** Calls made from the OpenAPI document, sound and hostile: never a 500, never undescribed. */

import { beforeAll, expect, test } from 'vitest';
import { makeUser, type TestUser, uniqueId } from '../support/cloud.ts';
import { callGateway } from '../support/edge.ts';
import { putGeneration } from '../support/generation.ts';
import { getDocument, type Operation, operationsOf, type Schema } from '../support/openapi.ts';
import { fc } from '../support/properties.ts';
import { makeTarGz } from '../support/tar.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 126);
const CALLS_A_RUN = 16;

/** None holds a word that an answer must not: what was sent may be named in it. */
const HOSTILE = [
  '..',
  '.',
  '%2e%2e',
  '%00',
  '%',
  '%E0%A4',
  '%2F',
  "'",
  '"; drop table users; --',
  '\u0000',
  '🦀',
  'a/../../b',
  '-1',
  '0',
  '1e9',
  '99999999999999999999',
  'NaN',
  'null',
  '[]',
  'true',
  'a'.repeat(3000),
  'é'.normalize('NFD'),
  '\ud800',
  ' ',
];

let operations: Operation[];
let owner: TestUser;
let stranger: TestUser;

beforeAll(async () => {
  operations = operationsOf(await getDocument());
  [owner, stranger] = [await makeUser(), await makeUser()];
});

/** What fits a schema. Names that the test knows to exist come often. */
function arbitraryOf(schema: Schema, name: string): fc.Arbitrary<unknown> {
  if (name === 'project') return fc.constantFrom('$PROJECT', '$PROJECT', '$PROJECT', 'no-such');
  if (name === 'path') return fc.constantFrom('a.py', 'b/c.py', 'nothing');
  if (['version', 'from', 'to'].includes(name)) return fc.constantFrom(1, 2, 3, 4, 2147483647);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 2 ** 31 });
    case 'boolean':
      return fc.boolean();
    case 'object':
      return fc.record(
        Object.fromEntries(
          Object.entries(schema.properties ?? {}).map(([key, value]) => [
            key,
            mostly<unknown>(arbitraryOf(value, key), hostile),
          ]),
        ),
        { requiredKeys: schema.required ?? [] },
      );
    default:
      return schema.pattern === undefined
        ? fc.string({
            minLength: schema.minLength ?? 0,
            maxLength: Math.min(schema.maxLength ?? 50, 50),
          })
        : fc.stringMatching(new RegExp(schema.pattern));
  }
}

const hostile = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 40 }));
const mostly = <T>(sound: fc.Arbitrary<T>, other: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: sound, weight: 6 }, { arbitrary: other, weight: 1 });

type FuzzedCall = {
  operation: Operation;
  path: Record<string, unknown>;
  query: [string, unknown][];
  body: string | null;
  token: string;
  headers: Record<string, string>;
};

function callOf(operation: Operation): fc.Arbitrary<FuzzedCall> {
  const named = (where: 'path' | 'query') =>
    operation.parameters.filter((parameter) => parameter.in === where);
  const path = Object.fromEntries(
    named('path').map(({ name, schema }) => [
      name,
      mostly<unknown>(arbitraryOf(schema, name), hostile),
    ]),
  );
  const query = named('query').map(({ name, schema, required }) =>
    fc
      .option(mostly<unknown>(arbitraryOf(schema, name), hostile), { freq: required ? 12 : 2 })
      .map((value): [string, unknown][] => (value === null ? [] : [[name, value]])),
  );
  const json =
    operation.body === null
      ? fc.json()
      : arbitraryOf(operation.body, '').map((body) => JSON.stringify(body));
  return fc.record({
    operation: fc.constant(operation),
    path: fc.record(path),
    query: fc.tuple(...query, fc.constant([])).map((pairs) => pairs.flat()),
    body: fc.option(mostly(json, fc.oneof(fc.json(), hostile)), { freq: 6 }),
    token: fc.constantFrom('owner', 'owner', 'owner', 'owner', 'stranger', 'none', 'garbage'),
    headers: fc.record(
      {
        'if-none-match': fc.constantFrom('*', '"x"', 'W/', ',,'),
        range: fc.constantFrom('bytes=0-1', 'bytes=-5', 'bytes=9-1', 'x'),
        accept: fc.constantFrom('text/html', '*/*', 'x'),
        'content-type': fc.constantFrom('text/plain', 'application/json', 'x'),
        'x-request-id': fc.constantFrom('mine', 'x'.repeat(500), '<script>'),
        origin: fc.constantFrom('https://a.example', 'null'),
      },
      { requiredKeys: [] },
    ),
  });
}

test(`${RUNS * CALLS_A_RUN} calls in Deno, through the gateway`, async () => {
  const call = callGateway();
  const seen = new Map<number, number>();
  const anyCall = fc.constantFrom(...operations).chain(callOf);
  const calls = fc.array(anyCall, { minLength: CALLS_A_RUN, maxLength: CALLS_A_RUN });
  await fc.assert(
    fc.asyncProperty(calls, async (some) => {
      const projectId = await makeProject();
      await Promise.all(
        some.map(async ({ operation, path, query, body, token, headers }) => {
          const fill = (value: unknown) => String(value).replaceAll('$PROJECT', projectId);
          const encode = (name: string, value: unknown) =>
            fill(value)
              .toWellFormed()
              .split(name === 'path' ? '/' : /$^/)
              .map(encodeURIComponent)
              .join('/');
          let url = operation.path;
          for (const [name, value] of Object.entries(path)) {
            url = url.replace(`{${name}}`, () => encode(name, value));
          }
          const search = query.map(([name, value]) => `${name}=${encode('', value)}`).join('&');
          const tokens: Record<string, string> = {
            owner: `Bearer ${owner.token}`,
            stranger: `Bearer ${stranger.token}`,
            garbage: 'Bearer garbage',
          };
          const answer = await call(operation.method, `${url}?${search}`, {
            headers: {
              ...headers,
              ...(tokens[token] === undefined ? {} : { authorization: tokens[token] }),
            },
            ...(operation.method === 'GET' || body === null ? {} : { body: body.toWellFormed() }),
          });
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1);
          const type = answer.headers.get('content-type') ?? '';
          const text = await answer.text();
          const what = `${operation.method} ${url}?${search} → ${answer.status} ${text.slice(0, 300)}`;
          expect(answer.status, what).toBeLessThan(500);
          if (answer.status >= 400) {
            const problem = JSON.parse(text);
            expect(type, what).toBe('application/problem+json');
            expect(problem.request_id, what).toBe(answer.headers.get('x-request-id'));
            expect(text, what).not.toMatch(/ at .*\.ts|storage_\w+|PGRST|select /i);
          }
          // A name such as ".." makes it the URL of another call, or of none.
          const isOther = Object.values(path).some((value) =>
            fill(value)
              .split('/')
              .some((part) => /^(%2e|\.)+$/i.test(part)),
          );
          if (isOther || url.endsWith('/')) return;
          const json = /json/.test(type) ? JSON.parse(text) : null;
          expect(operation.check(answer.status, type, json), what).toBeNull();
        }),
      );
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
  // It got through to what there is, and was refused in each of the ways.
  for (const status of [200, 201, 400, 401, 404, 409]) expect([...seen.keys()]).toContain(status);
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
