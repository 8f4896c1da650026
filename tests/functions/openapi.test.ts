/** The OpenAPI document, `docs/api.md`, and its examples. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { writeApi } from '../../docs/write-api.ts';
import { createClient } from '../../functions/client/index.ts';
import { createOpenApi } from '../../functions/generations/openapi.ts';
import { makeUser, type TestUser, uniqueId } from '../support/cloud.ts';
import { callGateway } from '../support/edge.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { getDocument, operationsOf } from '../support/openapi.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const api = readFileSync(join(ROOT, 'docs/api.md'), 'utf8');

test('the document validates as OpenAPI 3.1, and needs no token', async () => {
  const served = await callGateway()('GET', '/openapi.json');
  const document = await served.json();
  expect(document.openapi).toBe('3.1.0');
  expect(document.servers).toEqual([
    { url: `${inject('stack').SUPABASE_URL}/functions/v1/generations` },
  ]);
  expect(await new Validator().validate(document)).toEqual({ valid: true });
});

test('a route that is not described is found, and a description without a route', async () => {
  const route = { method: 'GET', path: '/other', handler: () => {} };
  expect(() => createOpenApi([route], 'https://x')).toThrow('GET /other, GET /projects');
});

test('docs/api.md is what `npm run docs` writes', async () => {
  expect(api).toBe(await writeApi());
});

describe('the examples of docs/api.md', () => {
  let owner: TestUser;
  let project: string;
  const examples = [...api.matchAll(/^### (\w+)\n(?:(?!^### )[\s\S])*?```sh\n([\s\S]*?)```/gm)];

  beforeAll(async () => {
    owner = await makeUser();
    project = uniqueId();
    const files = (word: string) => ({ 'app/main.py': `print("${word}")\n` });
    await saveToCloud({ projectId: project, version: 1, ownerId: owner.id, files: files('one') });
    await saveToCloud({ projectId: project, version: 2, ownerId: owner.id, files: files('two') });
    await putGeneration({ projectId: project, version: 3, ownerId: owner.id });
  });

  test('in TypeScript', async () => {
    const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(api) ?? [];
    const folder = await tempFolder();
    const file = join(folder, 'example.ts');
    const given = { url: inject('stack').SUPABASE_URL, project, token: owner.token };
    writeFileSync(
      file,
      `const { url, project, token } = ${JSON.stringify(given)};
      const getToken = () => token;
      ${code.replace('codebegen-storage/client', `${ROOT}/functions/client/index.ts`)}`,
    );
    const ran = await run(process.execPath, [file]);
    expect(ran.stderr).toBe('');
    const lines = ran.stdout.trim().split('\n');
    expect(lines.slice(0, 3)).toEqual([
      "[ 'v3 uploaded', 'v2 verified' ]",
      'app/main.py 13',
      'print("two")',
    ]);
    expect(lines).toContain('-print("one")');
    expect(lines.slice(-4)).toEqual(['true', 'true 0', 'true', 'not_found true']);
  });

  test('by curl: each call has one, and answers as described', async () => {
    const operations = operationsOf(await getDocument());
    expect(examples.map(([, id]) => id).sort()).toEqual(operations.map(({ id }) => id).sort());
    const folder = await tempFolder();
    const client = createClient(inject('stack').SUPABASE_URL, () => owner.token);
    const { link } = await client.downloadGeneration(project, 2, { revocable: true });
    for (const [, id, command = ''] of examples) {
      const ran = await run('bash', ['-euc', command.replace('curl', 'curl -D head')], {
        cwd: folder,
        env: {
          API: `${inject('stack').SUPABASE_URL}/functions/v1/generations`,
          TOKEN: owner.token,
          PROJECT: project,
          LINK: link!,
        },
      });
      expect(ran.code, `${command}${ran.stdout}${ran.stderr}`).toBe(0);
      const head = readFileSync(join(folder, 'head'), 'utf8');
      const status = Number(/^HTTP\/\S+ (\d+)/.exec(head)?.[1]);
      const type = /^content-type: (.*)$/im.exec(head)?.[1]?.trim() ?? '';
      const isJson = type.startsWith('application/json') && ran.stdout !== '';
      const body = isJson ? JSON.parse(ran.stdout) : null;
      const operation = operations.find((some) => some.id === id)!;
      expect(operation.check(status, type, body), id).toBeNull();
    }
    const unzipped = await run('unzip', ['-l', join(folder, 'shop.zip')]);
    expect(unzipped.stdout).toContain('app/main.py');
  });
});
