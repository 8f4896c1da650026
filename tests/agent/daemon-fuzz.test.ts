/** Calls of the daemon made from its OpenAPI document, sound and hostile: never a 500, never undescribed. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DetailsSchema } from '../../node-agent/save/json-input.ts';
import { startDaemon } from '../support/daemon.ts';
import { callOf, isOther, urlOf } from '../support/fuzz.ts';
import { type Document, type Operation, operationsOf } from '../support/openapi.ts';
import { fc } from '../support/properties.ts';
import { tempFolder } from '../support/temp.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 60);
const CALLS_A_RUN = 12;

const FILES = { 'a.py': 'a\n', 'b/c.py': 'c\n' };

async function start() {
  const { daemon } = await startDaemon();
  const document = (await (await fetch(`${daemon.url}/openapi.json`)).json()) as Document;
  // A stream of events does not end: `event-stream.test.ts` has it.
  const operations = operationsOf(document).filter(({ id }) => id !== 'streamEvents');
  return { url: daemon.url, operations };
}

async function save(url: string, projectId: string, version: number) {
  const answer = await fetch(`${url}/v1/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ project_id: projectId, version, files: { ...FILES, n: `${version}` } }),
  });
  expect(answer.status).toBe(201);
}

test(`${RUNS * CALLS_A_RUN} calls of a daemon`, async () => {
  const { url, operations } = await start();
  let count = 0;
  const seen = new Set<number>();
  const anyCall = fc.constantFrom(...operations).chain(callOf);
  const calls = fc.array(anyCall, { minLength: CALLS_A_RUN, maxLength: CALLS_A_RUN });
  await fc.assert(
    fc.asyncProperty(calls, async (some) => {
      const projectId = `fuzz-${count++}`;
      for (const version of [1, 2]) await save(url, projectId, version);
      await Promise.all(
        some.map(async (fuzzed) => {
          const { operation, body, headers } = fuzzed;
          const path = urlOf(fuzzed, projectId);
          // What a body is of is known by its type.
          const { 'content-type': type, ...others } = headers;
          const sent = operation.method === 'POST' && body !== null;
          const answer = await fetch(`${url}${path}`, {
            method: operation.method,
            redirect: 'manual',
            headers: sent ? { ...others, 'content-type': type ?? 'application/json' } : others,
            ...(sent ? { body: body.toWellFormed() } : {}),
          });
          seen.add(answer.status);
          const text = await answer.text();
          const what = `${operation.method} ${path} ${body} → ${answer.status} ${text.slice(0, 300)}`;
          expect(answer.status, what).not.toBe(500);
          if (answer.status >= 400 && answer.status !== 416) {
            const problem = JSON.parse(text);
            expect(problem.request_id, what).toBe(answer.headers.get('x-request-id'));
            expect(text, what).not.toMatch(/ at .*\.ts|sqlite|select /i);
          }
          if (isOther(fuzzed, path, projectId)) return;
          check(operation, answer, text, what);
        }),
      );
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
  for (const status of [200, 400, 403, 404]) expect([...seen]).toContain(status);
});

test('every call that is sound is answered as described', async () => {
  const { url, operations } = await start();
  for (const version of [1, 2]) await save(url, 'shop', version);
  const names: Record<string, string> = {
    project: 'shop',
    version: '2',
    path: 'b/c.py',
    host: 'generator-1',
    from: '1',
    to: '2',
    link: '00000000-0000',
  };
  // Deleting comes last, what it deletes is asked for before.
  const inOrder = operations.toSorted(
    (a, b) => Number(a.method === 'DELETE') - Number(b.method === 'DELETE'),
  );
  for (const operation of inOrder) {
    const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name]!);
    const query = operation.parameters
      .filter((parameter) => parameter.in === 'query' && parameter.required)
      .map(({ name }) => `${name}=${names[name]}`);
    const isSave = operation.id === 'saveGeneration';
    const body = JSON.stringify({ project_id: 'shop', metadata: { promptId: 1 }, files: FILES });
    const answer = await fetch(`${url}${path}?${query.join('&')}`, {
      method: operation.method,
      ...(isSave ? { headers: { 'content-type': 'application/json' }, body } : {}),
    });
    const text = await answer.text();
    // Without a token for that nobody looks after hosts.
    const isOfHosts = operation.path.startsWith('/v1/hosts');
    // Without a cloud there is no link.
    const isOfLinks = operation.path.includes('/links');
    const status = isOfHosts ? 403 : isOfLinks ? 503 : isSave ? 201 : 200;
    expect(answer.status, `${operation.id}: ${text.slice(0, 300)}`).toBe(status);
    check(operation, answer, text, operation.id);
  }
});

test('what is saved once more is answered as described', async () => {
  const { url, operations } = await start();
  const operation = operations.find(({ id }) => id === 'saveGeneration')!;
  for (const status of [201, 200]) {
    const answer = await fetch(`${url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ project_id: 'p', generation_id: 'g', files: FILES }),
    });
    expect(answer.status).toBe(status);
    check(operation, answer, await answer.text(), operation.id);
  }
});

function check(operation: Operation, answer: Response, text: string, what: string): void {
  const type = answer.headers.get('content-type') ?? '';
  const json = /json/.test(type) && text !== '' ? JSON.parse(text) : null;
  expect(operation.check(answer.status, type, json), what).toBeNull();
}

test('what needs a token, and where a link will do, is as the document says', async () => {
  const token = 'a-token-of-more-than-32-characters-in-all';
  const { daemon } = await startDaemon({ AGENT_TOKEN: token });
  const headers = { authorization: `Bearer ${token}` };
  const asked = await fetch(`${daemon.url}/openapi.json`, { headers });
  const { paths, security: usual } = (await asked.json()) as Document;
  for (const [path, methods] of Object.entries(paths)) {
    const url = `${daemon.url}${path.replaceAll(/\{\w+\}/g, '1')}`;
    for (const [method, { security = usual }] of Object.entries(methods)) {
      const ways = security.flatMap((way) => Object.keys(way));
      const refuses = async (query: string) =>
        (await fetch(`${url}${query}`, { method: method.toUpperCase() })).status === 401;
      expect(await refuses(''), `${method} ${path}`).toBe(ways.includes('token'));
      const query = '?generation=g&expires=1&signature=x';
      const isSigned = ways.includes('link') || ways.length === 0;
      expect(await refuses(query), `${method} ${path}, signed`).toBe(!isSigned);
    }
  }
});

test('what a save takes is in the document: each detail, and what each kind of body holds', async () => {
  const { daemon } = await startDaemon();
  const document = (await (await fetch(`${daemon.url}/openapi.json`)).json()) as Document;
  const { parameters = [], requestBody } = document.paths['/v1/generations']!.post!;
  const details = Object.keys(DetailsSchema.entries).toSorted();
  expect(parameters.map(({ name }) => name).toSorted()).toEqual([...details, 'links'].toSorted());
  const {
    'application/json': json,
    'multipart/form-data': form,
    ...archives
  } = requestBody!.content;
  for (const { schema } of [json!, form!]) {
    expect(Object.keys(schema.properties!).toSorted()).toEqual(expect.arrayContaining(details));
  }
  expect(Object.keys(archives)).toEqual([
    'application/gzip',
    'application/x-tar',
    'application/zip',
  ]);
  for (const { schema } of Object.values(archives)) {
    expect(schema).toMatchObject({ type: 'string', format: 'binary' });
  }
  // As the document has it.
  const query = new URLSearchParams({ project_id: 'p', version: '7', metadata: '{"a":1}' });
  const folder = await tempFolder();
  writeFileSync(join(folder, 'a.txt'), 'a');
  const saved = await fetch(`${daemon.url}/v1/generations?${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-tar' },
    body: execFileSync('tar', ['c', '-C', folder, 'a.txt']),
  });
  expect([saved.status, (await saved.json()).version]).toEqual([201, 7]);
});
