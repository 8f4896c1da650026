/** Runs `supabase/tests/*.sql` as `supabase test db` would, on PGlite. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../supabase/embedded/database.ts';
import { createKeys } from '../../supabase/embedded/keys.ts';

const TESTS = new URL('../../supabase/tests/', import.meta.url);
let database: Database;

beforeAll(async () => {
  database = await openDatabase({ keys: await createKeys() });
});
afterAll(() => database?.close());

test.each(readdirSync(TESTS).filter((name) => name.endsWith('.sql')))('%s', async (name) => {
  const results = await database.pg.exec(readFileSync(new URL(name, TESTS), 'utf8'), {
    rowMode: 'array',
  });
  const lines = results
    .flatMap((result) => result.rows as unknown[][])
    .flat()
    .filter((cell): cell is string => typeof cell === 'string')
    .flatMap((cell) => cell.split('\n'));
  const [first, last] = /^(\d+)\.\.(\d+)$/.exec(lines[0] ?? '')?.slice(1) ?? [];
  const tests = lines.filter((line) => /^(not )?ok \d+/.test(line));
  const trouble = lines.filter((line) => /^(not ok|#)/.test(line));
  expect(trouble).toEqual([]);
  expect([first, last]).toEqual(['1', String(tests.length)]);
});
