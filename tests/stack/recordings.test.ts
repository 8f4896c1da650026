/**
 * What the real Storage server answered, exchange by exchange, and what ours answers. Recorded
 * on supabase/storage 1.11.2; ids, times and tokens are compared by their form.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeJwt, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Stack, startStack } from '../../supabase/embedded/stack.ts';
import { mapTexts } from './map-texts.ts';

type Body = string | { bytes: number; sha256?: string } | undefined;
type Exchange = {
  name: string;
  request: {
    method: string;
    path: string;
    headers: Record<string, string>;
    json?: unknown;
    body?: Body;
  };
  response: { status: number; headers: Record<string, string>; body: unknown };
};

const { exchanges } = JSON.parse(
  readFileSync(new URL('./recordings.json', import.meta.url), 'utf8'),
) as { exchanges: Exchange[] };

const USER_A = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const USER_B = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb';
const PROJECT_A = '11111111-1111-4111-8111-111111111111';
const PROJECT_B = '22222222-2222-4222-8222-222222222222';

const NAMED = [USER_A, USER_B, PROJECT_A, PROJECT_B];

/** What later versions answer otherwise: `differences.json` has how. */
const SUPERSEDED = ['an unknown route'];

/** The chunks that were sent are not in the recording, only their sizes. */
const RECORDED_CHUNKS_MD5 = '94f2b2e770ae040f8df2e5b8ea6ba34b';
const SENT_CHUNKS_MD5 = createHash('md5').update(Buffer.alloc(6_292_456, 'x')).digest('hex');

/** What the recording's database had beside the platform's own. */
const SETUP = `
  create table public.recorded_projects (id text primary key, owner_id uuid);
  grant select on public.recorded_projects to authenticated;
  insert into public.recorded_projects values
    ('${PROJECT_A}', '${USER_A}'), ('${PROJECT_B}', '${USER_B}');
  create policy select_own on storage.objects for select to authenticated
    using ((storage.foldername(name))[1] in
      (select id from public.recorded_projects where owner_id = auth.uid()));
  create policy insert_own on storage.objects for insert to authenticated
    with check ((storage.foldername(name))[1] in
      (select id from public.recorded_projects where owner_id = auth.uid()));
  create policy delete_own on storage.objects for delete to authenticated
    using ((storage.foldername(name))[1] in
      (select id from public.recorded_projects where owner_id = auth.uid()));
  insert into storage.buckets (id, name, public) values ('proj', 'proj', false);
`;

/** Headers that clients act on. */
const HEADERS = [
  'content-type',
  'content-length',
  'content-range',
  'content-disposition',
  'accept-ranges',
  'etag',
  'cache-control',
  'expires',
  'last-modified',
  'location',
  'tus-resumable',
  'tus-version',
  'tus-extension',
  'tus-max-size',
  'upload-offset',
  'upload-length',
];

let stack: Stack;
let base: string;
let tokens: Record<string, string>;
/** What later exchanges take from the answers of earlier ones: `${SIGNED}` and the like. */
const variables: Record<string, string> = {};

beforeAll(async () => {
  stack = await startStack({ port: 0, functions: false });
  base = `${stack.url}/storage/v1`;
  await stack.database.pg.exec(SETUP);
  const { jwtSecret } = stack.keys;
  tokens = {
    SERVICE: stack.keys.serviceRoleKey,
    ANON: stack.keys.anonKey,
    USER_A: await sign({ role: 'authenticated', sub: USER_A }, jwtSecret),
    USER_B: await sign({ role: 'authenticated', sub: USER_B }, jwtSecret),
    EXPIRED_USER_A: await sign({ role: 'authenticated', sub: USER_A }, jwtSecret, -60),
    FORGED_SERVICE: await sign(
      { role: 'service_role' },
      'another secret of at least 32 characters',
    ),
    GARBAGE: 'not-a-jwt',
  };
});
afterAll(() => stack?.close());

describe('the storage server answers as the real one did', () => {
  test.each(exchanges.map((exchange, index) => ({ ...exchange, index })))(
    '$index $name',
    async ({ name, request, response: recorded }) => {
      if (SUPERSEDED.includes(name)) return;
      await prepare(name);
      const answer = await send(request);
      const text = await answer.text();
      remember(name, answer, text);

      expect(answer.status, text).toBe(recorded.status);
      expect(mask(parse(text, recorded.body))).toEqual(mask(recorded.body ?? ''));
      for (const header of HEADERS) {
        const was = recorded.headers[header];
        const variable =
          header === 'content-length' && JSON.stringify(recorded.body)?.includes('<jwt>');
        // A stream's length is not always said; where it was not, nobody relied on it.
        if (was === undefined || variable) continue;
        expect(maskText(answer.headers.get(header) ?? ''), header).toBe(maskText(was));
      }
    },
  );
});

test('nothing was left out', () => {
  expect(exchanges).toHaveLength(107);
});

async function sign(claims: Record<string, string>, secret: string, lifetime = 3600) {
  return new SignJWT({ aud: 'authenticated', ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + lifetime)
    .sign(new TextEncoder().encode(secret));
}

/** Does what the recorder did between the exchanges that it wrote down. */
async function prepare(name: string): Promise<void> {
  if (name === 'list a folder') {
    for (const version of [3, 4, 5, 6, 7]) {
      await send({
        method: 'POST',
        path: `/object/codebegen-projects/${PROJECT_A}/generations/v${version}__gen-${version}.tar.gz`,
        headers: { 'content-type': 'application/gzip', authorization: 'Bearer <SERVICE>' },
        body: `0123456789abcdefghijklmnopqrstuvwxyz${version}`,
      });
    }
  }
  if (name === 'get an expired signed url') {
    const token = new URL(variables.SHORT!, base).searchParams.get('token');
    const { exp = 0 } = decodeJwt(token!);
    while (Date.now() < exp * 1000) await sleep(50);
  }
}

function remember(name: string, answer: Response, text: string): void {
  const other = `/object/sign/codebegen-projects/${PROJECT_B}/generations/v1__gen-9.tar.gz`;
  const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, string>) : {};
  const query = (url: string | undefined) => url?.split('?')[1] ?? '';
  switch (name) {
    case 'sign a download':
      variables.SIGNED = json.signedURL!;
      variables.OTHER = `${other}?${query(json.signedURL)}`;
      break;
    case 'sign for one second':
      variables.SHORT = json.signedURL!;
      break;
    case 'list v2, first page':
      variables.CURSOR = json.nextCursor!;
      break;
    case 'sign an upload':
      variables.UP = json.url!;
      break;
    case 'sign an upload over an existing key with upsert':
      variables.UPX = json.url!;
      variables.UPBAD = `${other.replace('/sign/', '/upload/sign/')}?${query(json.url)}`;
      break;
    case 'tus: create':
      variables.TUS = answer.headers.get('location')!;
      break;
    case 'tus: create over an existing key with upsert':
      variables.TUS2 = answer.headers.get('location')!;
      break;
  }
}

function send({ method, path, headers, json, body }: Exchange['request']): Promise<Response> {
  const url = fill(path);
  const filled = Object.entries(headers).map(([name, value]) => [
    name,
    value.replace(/<(\w+)>/, (_, token: string) => tokens[token]!),
  ]);
  const content =
    json !== undefined
      ? fill(JSON.stringify(json))
      : typeof body === 'object'
        ? Buffer.alloc(body.bytes, 'x')
        : body;
  return fetch(url.startsWith('http') ? url : base + url, {
    method,
    headers: Object.fromEntries(filled),
    ...(content === undefined ? {} : { body: content }),
  });
}

function fill(text: string): string {
  return text.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => variables[name]!);
}

function parse(text: string, recorded: unknown): unknown {
  return recorded !== null && typeof recorded === 'object' ? JSON.parse(text) : text;
}

/** Puts a sign in the place of what differs from run to run. */
const mask = (value: unknown) => mapTexts(value, maskText);

function maskText(text: string): string {
  return (
    text
      .replaceAll(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, '<jwt>')
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (uuid) =>
        NAMED.includes(uuid) ? uuid : '<uuid>',
      )
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '<time>')
      .replaceAll(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, '<date>')
      // Cursors and the names of resumable uploads say where, in a form of the server's own.
      .replaceAll(/^[A-Za-z0-9+/_=-]{80,}$/g, '<opaque>')
      .replaceAll(
        /^(?:<origin>|http:\/\/[^/]+)(\/storage\/v1\/upload\/resumable\/)[\w-]+$/g,
        '$1<upload>',
      )
      .replaceAll(RECORDED_CHUNKS_MD5, SENT_CHUNKS_MD5)
  );
}
