/** Runs the Deno tests on Deno 2.1.4, with the import map of the functions. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, inject, test } from 'vitest';
import { findDeno } from '../../supabase/embedded/functions.ts';
import { makeUser } from '../support/cloud.ts';
import { ROOT, run } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const FOLDER = join(ROOT, 'tests/functions/deno');

test('the Deno tests pass, with a twin in the place of jsr:@std/assert', async () => {
  const map = JSON.parse(readFileSync(join(ROOT, 'functions/deno.json'), 'utf8'));
  expect(map.imports['@std/assert']).toMatch(/^jsr:@std\/assert@/);
  map.imports['@std/assert'] = pathToFileURL(join(FOLDER, 'std-assert.ts')).href;
  const mapFile = join(await tempFolder(), 'import-map.json');
  writeFileSync(mapFile, JSON.stringify(map));

  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.deno.ts'));
  const ran = await run(
    findDeno(),
    [
      ...['test', '--no-lock', '--cached-only', '--config', 'deno.json', '--import-map', mapFile],
      ...['--allow-net=127.0.0.1', '--allow-env', '--allow-read'],
      ...files.map((name) => join(FOLDER, name)),
    ],
    {
      env: {
        NO_COLOR: '1',
        DENO_NO_UPDATE_CHECK: '1',
        STACK_URL: inject('stack').SUPABASE_URL,
        STACK_TOKEN: (await makeUser()).token,
      },
    },
  );
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  const [, passed, failed, ignored] =
    /ok \| (\d+) passed(?: \(.*?\))? \| (\d+) failed(?: \| (\d+) ignored)?/.exec(ran.stdout) ?? [];
  expect([failed, ignored]).toEqual(['0', undefined]);
  expect(Number(passed)).toBeGreaterThan(files.length);
});
