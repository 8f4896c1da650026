/** Who is let in to the daemon: by the name that was asked for, the page that asks, and the token. */
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { readConfig } from '../../node-agent/config.ts';
import { toProblem } from '../../node-agent/contract.ts';
import { createGuard } from '../../node-agent/daemon/guard.ts';

const TOKEN = 'a-token-of-more-than-32-characters-in-all';

type Asked = { path?: string; headers?: Record<string, string> };

async function ask(settings: Record<string, string>, { path = '/v1/status', headers = {} }: Asked) {
  const config = readConfig({ FILE_STORAGE_PATH: '/tmp/none', ...settings }).daemon;
  const app = new Hono();
  app.onError((error, c) => c.json(toProblem(error), toProblem(error).status as 500));
  app.use(createGuard(config));
  app.all('*', (c) => c.text('in'));
  return (await app.request(path, { headers: { host: '127.0.0.1:4173', ...headers } })).status;
}

const PUBLIC = { AGENT_PUBLIC_URL: 'https://files.example:8443', AGENT_TOKEN: TOKEN };
const authorization = `Bearer ${TOKEN}`;

test.each<[string, Record<string, string>, number]>([
  ['localhost', {}, 200],
  ['LOCALHOST:4173', {}, 200],
  ['127.0.0.1:80', {}, 200],
  ['10.1.2.3', {}, 200],
  ['[::1]:4173', {}, 200],
  ['[fd00::1]', {}, 200],
  ['evil.example', {}, 403],
  ['localhost.evil.example', {}, 403],
  ['127.0.0.1.evil.example', {}, 403],
  ['evil.example:4173', PUBLIC, 403],
  ['files.example:8443', {}, 403],
  ['files.example:8443', PUBLIC, 200],
  ['FILES.example:8443', PUBLIC, 200],
  ['files.example', PUBLIC, 403],
  ['generator.local', { AGENT_HOST: 'Generator.Local', AGENT_TOKEN: TOKEN }, 200],
  ['generator.local', {}, 403],
  ['', {}, 403],
  ['a b', {}, 403],
  ['[', {}, 403],
])('asked for as %j with %j: %i', async (host, settings, status) => {
  expect(await ask(settings, { headers: { host, authorization } })).toBe(status);
});

test.each<[string, Record<string, string>, number]>([
  ['http://127.0.0.1:4173', {}, 200],
  ['HTTP://127.0.0.1:4173', {}, 200],
  ['http://127.0.0.1:4174', {}, 403],
  ['https://127.0.0.1:4173', {}, 403],
  ['http://localhost:4173', {}, 403],
  ['https://evil.example', {}, 403],
  ['https://evil.example', PUBLIC, 403],
  ['https://files.example:8443', PUBLIC, 200],
  ['http://files.example:8443', PUBLIC, 403],
  ['null', {}, 403],
  ['', {}, 403],
  ['', PUBLIC, 403],
])('from a page of %j with %j: %i', async (origin, settings, status) => {
  expect(await ask(settings, { headers: { origin, authorization } })).toBe(status);
});

test.each<[string | null, number]>([
  [`Bearer ${TOKEN}`, 200],
  [`bearer ${TOKEN}`, 200],
  [null, 401],
  ['', 401],
  ['Bearer', 401],
  ['Bearer ', 401],
  [TOKEN, 401],
  [`Basic ${TOKEN}`, 401],
  [`x Bearer ${TOKEN}`, 401],
  [`Bearer ${TOKEN} x`, 401],
  [`Bearer ${TOKEN}x`, 401],
  [`Bearer x${TOKEN}`, 401],
  [`Bearer ${TOKEN.slice(0, -1)}`, 401],
  [`Bearer ${TOKEN.toUpperCase()}`, 401],
])('with %j: %i', async (authorization, status) => {
  const headers: Record<string, string> = authorization === null ? {} : { authorization };
  expect(await ask({ AGENT_TOKEN: TOKEN }, { headers })).toBe(status);
});

test.each<[string, number]>([
  ['/healthz', 200],
  ['/readyz', 200],
  ['/healthz/x', 401],
  ['/metrics', 401],
  ['/openapi.json', 401],
  // Its route looks at the signature.
  ['/v1/projects/p/1/archive.tar.gz?signature=x', 200],
  ['/v1/projects/shop-1/12/archive.tar.gz?signature=x', 200],
  ['/v1/projects/p/1/archive.tar.gz?signature=', 200],
  ['/v1/projects/p/1/archive.tar.gz', 401],
  ['/v1/projects/p/1/archive.tar.gz?expires=1', 401],
  ['/v1/projects/p/1/archive.zip?signature=x', 401],
  ['/v1/projects/p/1/files/archive.tar.gz?signature=x', 401],
  ['/v1/projects/p/1/archive.tar.gz/x?signature=x', 401],
  ['/x/v1/projects/p/1/archive.tar.gz?signature=x', 401],
  ['/v1/projects/p/1?signature=x', 401],
  ['/v1/status?signature=x', 401],
])('without a token where one is set, %s: %i', async (path, status) => {
  expect(await ask({ AGENT_TOKEN: TOKEN }, { path })).toBe(status);
});

test('asked for without a name: it is not let in', async () => {
  const app = new Hono();
  app.use(createGuard(readConfig({ FILE_STORAGE_PATH: '/tmp/none' }).daemon));
  app.onError((error, c) => c.text(toProblem(error).code));
  expect(await (await app.request('/v1/status')).text()).toBe('forbidden');
});

test('where no token is set, none is asked for', async () => {
  expect(await ask({}, {})).toBe(200);
});
