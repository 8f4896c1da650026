/** Calls made from an OpenAPI document. */
import type { Operation, Schema } from './openapi.ts';
import { fc } from './properties.ts';

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

/** What fits a schema. Names that the test knows to exist come often. */
function arbitraryOf(schema: Schema, name: string): fc.Arbitrary<unknown> {
  if (name === 'project_id') return fc.constantFrom('$PROJECT', '$PROJECT', '$PROJECT', 'no-such');
  const some = schema.anyOf ?? schema.oneOf;
  if (some !== undefined) return fc.oneof(...some.map((one) => arbitraryOf(one, name)));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (name === 'project') return fc.constantFrom('$PROJECT', '$PROJECT', '$PROJECT', 'no-such');
  if (name === 'path') return fc.constantFrom('a.py', 'b/c.py', 'nothing');
  if (['version', 'from', 'to'].includes(name)) return fc.constantFrom(1, 2, 3, 4, 2147483647);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 2 ** 31 });
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(arbitraryOf(schema.items ?? {}, ''), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 3, 3),
      });
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

export type FuzzedCall = {
  operation: Operation;
  path: Record<string, unknown>;
  query: [string, unknown][];
  body: string | null;
  token: string;
  headers: Record<string, string>;
};

/** A call of an operation, sound or hostile. */
export function callOf(operation: Operation): fc.Arbitrary<FuzzedCall> {
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

/** The URL of a call. @param projectId what `$PROJECT` stands for */
export function urlOf({ operation, path, query }: FuzzedCall, projectId: string): string {
  let url = operation.path;
  for (const [name, value] of Object.entries(path)) {
    url = url.replace(`{${name}}`, () => encode(name, value, projectId));
  }
  const search = query.map(([name, value]) => `${name}=${encode('', value, projectId)}`).join('&');
  return `${url}?${search}`;
}

/** Whether a name such as ".." makes it the URL of another call, or of none. */
export function isOther({ path }: FuzzedCall, url: string, projectId: string): boolean {
  const parts = Object.values(path).flatMap((value) => fill(value, projectId).split('/'));
  return parts.some((part) => /^(%2e|\.)+$/i.test(part)) || /\/\?/.test(url);
}

function fill(value: unknown, projectId: string): string {
  return String(value).replaceAll('$PROJECT', projectId);
}

function encode(name: string, value: unknown, projectId: string): string {
  return fill(value, projectId)
    .toWellFormed()
    .split(name === 'path' ? '/' : /$^/)
    .map(encodeURIComponent)
    .join('/');
}
