/**
 * Requests that the real platform (Storage of August 2026, PostgREST 12) and this stack once answered
 * differently. Ids, times and bytes are compared by their form.
 */
import { readFileSync } from 'node:fs';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Stack, startStack } from '../../supabase/embedded/stack.ts';
import { mapTexts } from './map-texts.ts';

type Difference = {
  index: number;
  who: string;
  request: {
    method: string;
    path: string;
    headers?: Record<string, string>;
    json?: unknown;
    body?: string;
  };
  response: { status: number; body?: unknown; headers?: Record<string, string | null> };
};

const differences = JSON.parse(
  readFileSync(new URL('./differences.json', import.meta.url), 'utf8'),
) as Difference[];

/** What is not mended, and why: `docs/testing.md` has this list too. */
const LEFT: Readonly<Record<number, string>> = {
  36: 'the function is no more',
  132: 'the gateway answers a preflight, with 204 here and 200 there: both are success',
  148: 'a chunk of another type is refused in other words, as 400 both times',
};

const USER_A = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const USER_B = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb';
const PROJECT = '11111111-1111-4111-8111-111111111111';
const KEY = `${PROJECT}/generations/v1__g1.tar.gz`;
const BUCKET = 'codebegen-projects';
const SIZE = 3023;

let stack: Stack;
let credentials: Record<string, Record<string, string>>;
let signedQuery: string;
let etag: string;
let lastModified: string;

beforeAll(async () => {
  stack = await startStack({ port: 0, functions: false });
  const { keys } = stack;
  const bearer = (token: string, apikey = keys.anonKey) => ({
    apikey,
    authorization: `Bearer ${token}`,
  });
  const user = (sub: string, lifetime?: number) =>
    sign({ role: 'authenticated', sub }, keys.jwtSecret, lifetime);
  credentials = {
    none: { apikey: keys.anonKey },
    anon: bearer(keys.anonKey),
    service: bearer(keys.serviceRoleKey, keys.serviceRoleKey),
    sec: { apikey: keys.secretKey, authorization: `Bearer ${keys.secretKey}` },
    a: bearer(await user(USER_A)),
    b: bearer(await user(USER_B)),
    expired: bearer(await user(USER_A, -60)),
    forged: bearer(await sign({ role: 'service_role' }, 'x'.repeat(40))),
    garbage: bearer('not-a-jwt'),
    admin: bearer(await sign({ role: 'postgres' }, keys.jwtSecret)),
  };
  await stack.database.pg.exec(`
    insert into storage_projects (id, owner_id) values ('${PROJECT}', '${USER_A}');
    insert into storage_generations (project_id, version, generation_id, bucket, object_key, status)
      values ('${PROJECT}', 1, 'g1', '${BUCKET}', '${KEY}', 'verified');
    insert into storage.buckets (id, name, public) values ('${BUCKET}', '${BUCKET}', false)
      on conflict do nothing;
  `);
  const put = (key: string) =>
    fetch(`${stack.url}/storage/v1/object/${BUCKET}/${key}`, {
      method: 'POST',
      headers: { ...credentials.service, 'content-type': 'application/gzip' },
      body: 'x'.repeat(SIZE),
    });
  expect((await put(KEY)).status).toBe(200);
  // What a folder without a name is listed as.
  for (const name of ['*', '/double']) await put(`${PROJECT}/k/${name}`);
  const head = await fetch(`${stack.url}/storage/v1/object/${BUCKET}/${KEY}`, {
    headers: credentials.service!,
  });
  await head.body?.cancel();
  etag = head.headers.get('etag')!;
  lastModified = head.headers.get('last-modified')!;
  const signed = await fetch(`${stack.url}/storage/v1/object/sign/${BUCKET}/${KEY}`, {
    method: 'POST',
    headers: { ...credentials.service, 'content-type': 'application/json' },
    body: '{"expiresIn":600}',
  });
  signedQuery = ((await signed.json()) as { signedURL: string }).signedURL.split('?')[1]!;
});
afterAll(() => stack?.close());

describe('what was answered otherwise is answered as there', () => {
  test.each(differences.filter(({ index }) => LEFT[index] === undefined))(
    '$index $who $request.method $request.path',
    async ({ index, who, request, response: real }) => {
      const path = await fill(index, request.path);
      const answer = await fetch(`${stack.url}${path}`, {
        method: request.method,
        headers: { ...credentials[who], ...bodyType(request), ...fillHeaders(request.headers) },
        ...bodyOf(request),
      });
      const text = await answer.text();
      expect(answer.status, text).toBe(real.status);
      if (real.body !== undefined) expect(mask(parse(text, real.body))).toEqual(mask(real.body));
      for (const [name, value] of Object.entries(real.headers ?? {})) {
        const got = answer.headers.get(name);
        // Ours says of each refusal how long it is.
        if (answer.status === 416 && name === 'content-length') continue;
        expect(got === null ? null : maskText(got), name).toBe(
          value === null ? null : maskText(value),
        );
      }
    },
  );
});

test('what is left has its reason, and is one of the differences', () => {
  for (const index of Object.keys(LEFT)) expect(differences[Number(index)]).toBeDefined();
  expect(differences.map(({ index }) => index)).toEqual(differences.map((_, index) => index));
});

function sign(claims: Record<string, string>, secret: string, lifetime = 3600) {
  return new SignJWT({ aud: 'authenticated', ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + lifetime)
    .sign(new TextEncoder().encode(secret));
}

/** Names the project, and makes what the path asks for where that is an upload of its own. */
async function fill(index: number, path: string): Promise<string> {
  const filled = path.replaceAll('/P/', `/${PROJECT}/`).replaceAll('.P&', `.${PROJECT}&`);
  if (filled.includes('token=T')) return filled.replace('token=T', signedQuery);
  if (!filled.endsWith('/UPLOAD')) return filled.replace(/\.P$/, `.${PROJECT}`);
  const unknown = Buffer.from(`${BUCKET}/${PROJECT}/t/${crypto.randomUUID()}`).toString(
    'base64url',
  );
  switch (index) {
    case 147:
      return upload('d06994a/t1');
    case 151:
      return upload('d06994a/t2');
    case 149:
      return upload(`${PROJECT}/of-service`);
    case 150: {
      const begun = await upload(`${PROJECT}/taken`);
      await fetch(`${stack.url}/storage/v1/object/${BUCKET}/${PROJECT}/taken`, {
        method: 'POST',
        headers: credentials.service!,
        body: 'x',
      });
      return begun;
    }
    default:
      return `/storage/v1/upload/resumable/${unknown}`;
  }
}

/** Begins a resumable upload of the service's. */
async function upload(key: string): Promise<string> {
  const metadata = {
    bucketName: BUCKET,
    objectName: key,
    contentType: 'application/gzip',
    cacheControl: '3600',
    metadata: '{"sha256":"6a498b47ef34ecc8ddb2112404ae0f06115577c3f61b60b8e5731e905f344ce1"}',
  };
  const begun = await fetch(`${stack.url}/storage/v1/upload/resumable`, {
    method: 'POST',
    headers: {
      ...credentials.service,
      'tus-resumable': '1.0.0',
      'upload-length': '3',
      'upload-metadata': Object.entries(metadata)
        .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
        .join(),
    },
  });
  expect(begun.status).toBe(201);
  return new URL(begun.headers.get('location')!).pathname;
}

function bodyType({ json }: Difference['request']): Record<string, string> {
  return json === undefined ? {} : { 'content-type': 'application/json' };
}

function bodyOf({ json, body }: Difference['request']): { body?: string } {
  if (body !== undefined) return { body };
  if (json === undefined) return {};
  return { body: JSON.stringify(json).replaceAll(/"P(?=[/"])/g, `"${PROJECT}`) };
}

function fillHeaders(headers: Record<string, string> = {}): Record<string, string> {
  const values: Record<string, string> = { ETAG: etag, 'LAST-MODIFIED': lastModified };
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, values[value] ?? value]),
  );
}

function parse(text: string, real: unknown): unknown {
  return typeof real === 'string' ? text : JSON.parse(text);
}

/** Puts a sign in the place of what differs from run to run. */
const mask = (value: unknown) => mapTexts(value, maskText);

function maskText(text: string): string {
  return text
    .replaceAll(PROJECT, 'P')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)/g, 'TIME')
    .replaceAll(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, 'DATE')
    .replaceAll(/\b[0-9a-f]{32}\b/g, 'MD5');
}
