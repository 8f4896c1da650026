/** What changed between two versions. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { EDGE_LIMITS } from '../../functions/_shared/contract/limits.ts';
import { formatUnified } from '../../functions/_shared/unified.ts';
import { makeUser, serviceClient, type TestUser, uniqueId } from '../support/cloud.ts';
import { asUser, callInProcess, WAYS } from '../support/edge.ts';
import { first, startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { fc } from '../support/properties.ts';
import { run } from '../support/run.ts';
import { makeTarGz } from '../support/tar.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

const FROM = {
  'app/main.py': 'import os\n\n\ndef main():\n    print("hello")\n\n\nmain()\n',
  'app/gone.py': 'gone = True\n',
  'app/same.py': 'same\n',
  'Käse "x".txt': 'eins\nzwei',
  'mode.sh': '#!/bin/sh\n',
  'logo.png': Buffer.from([0, 1, 2]),
  'private.txt': 'secret\n',
  'crlf.txt': 'a\r\nb\r\n',
};
const TO = {
  'app/main.py': 'import os\n\n\ndef main():\n    print("hello, world")\n\n\nmain()\n',
  'app/new.py': 'new = True\n',
  'app/empty.py': '',
  'app/same.py': 'same\n',
  'Käse "x".txt': 'eins\nzwei\ndrei',
  'mode.sh': { content: '#!/bin/sh\n', mode: 0o755 },
  'logo.png': Buffer.from([0, 1, 3]),
  'private.txt': { content: 'secret\n', mode: 0o600 },
  'crlf.txt': 'a\r\nc\r\n',
};
const textOf = (files: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(files)
      .filter(([path]) => path !== 'logo.png')
      .map(([path, file]) => [
        path,
        typeof file === 'string' ? file : (file as { content: string }).content,
      ]),
  );

let owner: TestUser;
let project: string;

beforeAll(async () => {
  owner = await makeUser();
  project = uniqueId();
  await saveToCloud({ projectId: project, version: 1, ownerId: owner.id, files: FROM });
  await saveToCloud({ projectId: project, version: 2, ownerId: owner.id, files: TO });
});

describe.each(WAYS)('%s', (_, makeCall) => {
  let get: (path: string) => Promise<Response>;
  beforeAll(() => {
    const as = asUser(makeCall(), owner);
    get = (path) => as('GET', path);
  });
  const diff = async (query: string) => (await get(`/projects/${project}/diff?${query}`)).json();

  test('says what was added, removed, modified and what was not', async () => {
    const answer = await diff('from=1&to=2');
    const paths = (list: { path: string }[]) => list.map((file) => file.path);
    expect(answer).toMatchObject({ from: 1, to: 2, unified: null });
    expect(paths(answer.added)).toEqual(['app/empty.py', 'app/new.py']);
    expect(paths(answer.removed)).toEqual(['app/gone.py']);
    expect(paths(answer.unchanged)).toEqual(['app/same.py']);
    expect(paths(answer.modified)).toEqual([
      'Käse "x".txt',
      'app/main.py',
      'crlf.txt',
      'logo.png',
      'mode.sh',
      'private.txt',
    ]);
    const mode = answer.modified.at(-2);
    expect(mode).toMatchObject({ from: { mode: 0o644 }, to: { mode: 0o755 } });
    expect(mode.from.sha256).toBe(mode.to.sha256);
  });

  test('backwards it is the other way round, with itself nothing', async () => {
    const back = await diff('from=2&to=1');
    expect(back.added.map((file: { path: string }) => file.path)).toEqual(['app/gone.py']);
    const same = await diff('from=1&to=1&unified=true');
    expect(same).toMatchObject({ added: [], removed: [], modified: [], unified: '' });
    expect(same.unchanged).toHaveLength(Object.keys(FROM).length);
    const none = await diff('from=1&to=2&unified=true&folder=artifacts');
    expect(none).toMatchObject({ added: [], removed: [], modified: [], unified: '' });
  });

  test('the unified diff turns the one into the other by git apply', async () => {
    const { unified } = await diff('from=1&to=2&unified=true');
    expect(unified).toContain('-    print("hello")\n+    print("hello, world")\n');
    expect(unified).not.toContain('logo.png');
    // What was added, removed and modified is not apart.
    const paths = [...unified.matchAll(/^diff --git "?a\/([a-z]\S*)/gm)].map(([, path]) => path);
    expect(paths).toEqual([
      'app/empty.py',
      'app/gone.py',
      'app/main.py',
      'app/new.py',
      'crlf.txt',
      'mode.sh',
    ]);
    const folder = await tempFolder();
    await writeFiles(folder, textOf(FROM));
    const applied = await run('git', ['apply', '--whitespace=nowarn', '-'], {
      cwd: folder,
      input: Buffer.from(unified),
      env: { GIT_CEILING_DIRECTORIES: folder, GIT_DIR: join(folder, '.none') },
    });
    expect(applied.code, applied.stderr).toBe(0);
    expect(readTexts(folder)).toEqual(textOf(TO));
  });

  test('one file alone', async () => {
    const answer = await diff('from=1&to=2&unified=true&path=app%2Fmain.py');
    expect(answer.modified).toMatchObject([{ path: 'app/main.py' }]);
    expect([answer.added, answer.removed, answer.unchanged]).toEqual([[], [], []]);
    expect(answer.unified.match(/^diff --git/gm)).toHaveLength(1);
    expect((await get(`/projects/${project}/diff?from=1&to=2&path=nothing`)).status).toBe(404);
  });

  test.each([
    ['to=2', 400, 'from'],
    ['from=1', 400, 'to'],
    ['from=0&to=1', 400, 'from'],
    ['from=1&to=x', 400, 'to'],
    ['from=1&to=2&unified=yes', 400, 'unified'],
    ['from=1&to=2&path=..%2Fx', 400, 'path'],
    ['from=1&to=9', 404, 'v9'],
    ['from=9&to=1', 404, 'v9'],
  ])('?%s is %i and names %s', async (query, status, named) => {
    const answer = await get(`/projects/${project}/diff?${query}`);
    expect(answer.status).toBe(status);
    expect((await answer.json()).detail).toContain(named);
  });
});

test('an archive of the Python system is compared too', async () => {
  const projectId = uniqueId();
  const archive = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'one\n' }]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  await saveToCloud({ projectId, version: 2, ownerId: owner.id, files: { a: 'two\n' } });
  const get = asUser(callInProcess(), owner);
  const answer = await get('GET', `/projects/${projectId}/diff?from=1&to=2&unified=true`);
  const diff = await answer.json();
  expect(diff.modified).toMatchObject([{ path: 'a' }]);
  expect(diff.unified).toContain('-one\n+two\n');
});

test.each<[string, Record<string, string>]>([
  [
    'too many files',
    Object.fromEntries(Array.from({ length: EDGE_LIMITS.diffFiles + 1 }, (_, i) => [`f${i}`, 'x'])),
  ],
  ['too many bytes', { large: randomBytes(EDGE_LIMITS.diffBytes).toString('hex') }],
  ['too many lines', { long: '\n'.repeat(EDGE_LIMITS.diffLines) }],
])('%s have no unified diff, and still a list', async (_, files) => {
  const projectId = uniqueId();
  await saveToCloud({ projectId, version: 1, ownerId: owner.id, files: { keep: 'x' } });
  await saveToCloud({ projectId, version: 2, ownerId: owner.id, files: { keep: 'x', ...files } });
  const get = asUser(callInProcess(), owner);
  const path = `/projects/${projectId}/diff?from=1&to=2`;
  const answer = await get('GET', `${path}&unified=true`);
  const problem = await answer.json();
  expect([answer.status, problem.code]).toEqual([413, 'too_large']);
  expect(problem.detail).toContain('path');
  expect((await (await get('GET', path)).json()).added).toHaveLength(Object.keys(files).length);
});

const many = (count: number, prefix: string, content: string) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}${i}`, content]));

test.each<[string, Record<string, string>, Record<string, string>]>([
  ['files', {}, many(EDGE_LIMITS.diffFiles, 'f', 'x')],
  ['bytes', {}, { large: randomBytes(EDGE_LIMITS.diffBytes / 2).toString('hex') }],
  ['lines', {}, { long: '\n'.repeat(EDGE_LIMITS.diffLines - 1) }],
  [
    'files of every kind',
    { ...many(98, 'f', 'x'), ...many(1, 'gone', 'x') },
    { ...many(98, 'f', 'y'), ...many(101, 'new', 'x') },
  ],
])('as many %s as may be have one', async (_, before, after) => {
  const projectId = uniqueId();
  const get = asUser(callInProcess(), owner);
  const version = async (version: number, files: Record<string, string>) =>
    saveToCloud({ projectId, version, ownerId: owner.id, files: { keep: 'x', ...files } });
  await version(1, before);
  await version(2, after);
  const path = `/projects/${projectId}/diff?unified=true`;
  expect((await get('GET', `${path}&from=1&to=2`)).status).toBe(200);
  expect((await get('GET', `${path}&from=2&to=1`)).status).toBe(200);
  await version(3, { ...after, more: 'y' });
  expect((await get('GET', `${path}&from=1&to=3`)).status).toBe(413);
});

test('what is no text on one side has no unified diff', async () => {
  const projectId = uniqueId();
  const binary = Buffer.from([0, 1, 2]);
  const version = (version: number, files: Record<string, string | Buffer>) =>
    saveToCloud({ projectId, version, ownerId: owner.id, files });
  await version(1, { a: binary, b: 'text\n', c: 'one\n' });
  await version(2, { a: 'text\n', b: binary, c: 'two\n' });
  const get = asUser(callInProcess(), owner);
  const answer = await get('GET', `/projects/${projectId}/diff?from=1&to=2&unified=true`);
  const { modified, unified } = await answer.json();
  expect(modified).toHaveLength(3);
  expect(unified.match(/^diff --git .*$/gm)).toEqual(['diff --git a/c b/c']);
});

test.each([
  ['an object', 'object_key'],
  ['other bytes', 'sha256'],
])(
  'a version that is replaced by %s between list and reading is not mixed with the other',
  async (_, changed) => {
    const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
    const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
    const rows = serviceClient().from('storage_generations').select('object_key, sha256');
    const { data } = await rows.eq('project_id', project).eq('version', 1).single();
    const other = {
      ...{ project_id: project, version: 1, generation_id: 'g', status: 'uploaded', files: [] },
      ...{ bucket: 'b', archive_bytes: 1, ...data, [changed]: 'another' },
    };
    proxy.rule = first(1, /storage_find_files/, { kind: 'answer', status: 200, body: other });
    const path = `/projects/${project}/diff?from=1&to=2&unified=true`;
    const refused = await as('GET', path);
    expect([refused.status, (await refused.json()).detail]).toEqual([
      503,
      expect.stringContaining('replaced meanwhile, try again'),
    ]);
    expect((await as('GET', path)).status).toBe(200);
  },
);

describe('a unified diff', () => {
  test('of texts that have nothing in common is a replacement, found in little time', async () => {
    const lines = (prefix: string) =>
      Array.from({ length: 20_000 }, (_, i) => `${prefix}${i}\n`).join('');
    const folder = await tempFolder();
    await writeFiles(folder, { a: lines('a'), b: lines('c') });
    const change = (path: string, from: string, to: string) => ({
      path,
      from: { mode: 0o644, text: from },
      to: { mode: 0o644, text: to },
    });
    const patch = formatUnified([
      change('a', lines('a'), lines('b')),
      change('b', lines('c'), lines('d')),
    ]);
    expect(patch.match(/^@@/gm)).toHaveLength(2);
    const applied = await applyPatch(folder, patch);
    expect(applied.code, applied.stderr).toBe(0);
    expect(readTexts(folder)).toEqual({ a: lines('b'), b: lines('d') });
  });

  test('always turns the one text into the other', async () => {
    const text = fc
      .array(fc.constantFrom('a', 'b', '', ' ', '\\ No newline', '-x', '+x', '@@', 'ä\r'), {
        maxLength: 12,
      })
      .chain((lines) => fc.boolean().map((end) => lines.join('\n') + (end ? '\n' : '')));
    const side = fc.option(fc.record({ mode: fc.constantFrom(0o644, 0o755), text }));
    const changes = fc
      .array(fc.tuple(side, side), { minLength: 1, maxLength: 6 })
      .map((pairs) => pairs.map(([from, to], i) => ({ path: `d/${i} ä"`, from, to })));
    await fc.assert(
      fc.asyncProperty(changes, async (changed) => {
        const folder = await tempFolder();
        mkdirSync(join(folder, 'd'));
        const side = (name: 'from' | 'to') =>
          Object.fromEntries(changed.flatMap((c) => (c[name] ? [[c.path, c[name].text]] : [])));
        await writeFiles(folder, side('from'));
        const patch = formatUnified(changed.filter((c) => c.from !== null || c.to !== null));
        if (patch !== '') {
          const applied = await applyPatch(folder, patch);
          expect(applied.code, `${applied.stderr}\n${patch}`).toBe(0);
        }
        expect(readTexts(folder)).toEqual(side('to'));
      }),
      { numRuns: 40 },
    );
  });
});

function applyPatch(folder: string, patch: string) {
  return run('git', ['apply', '--whitespace=nowarn', '-'], {
    cwd: folder,
    input: Buffer.from(patch),
    env: { GIT_DIR: join(folder, '.none') },
  });
}
