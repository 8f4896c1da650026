/** Runs `supabase/tests/*.sql` as `supabase test db` would: on PGlite, and on PostgreSQL where it is there. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../supabase/embedded/database.ts';
import { createKeys } from '../../supabase/embedded/keys.ts';
import {
  type PostgresServer,
  postgresVersion,
  startPostgresServer,
} from '../support/postgres-server.ts';

const TESTS = new URL('../../supabase/tests/', import.meta.url);
const names = readdirSync(TESTS).filter((name) => name.endsWith('.sql'));
const read = (name: string) => readFileSync(new URL(name, TESTS), 'utf8');

/** What TAP says of a run: every test that was planned, and none that failed. */
function expectPassed(cells: unknown[]): void {
  const lines = cells
    .filter((cell): cell is string => typeof cell === 'string')
    .flatMap((cell) => cell.split('\n'));
  const [first, last] = /^(\d+)\.\.(\d+)$/.exec(lines[0] ?? '')?.slice(1) ?? [];
  const tests = lines.filter((line) => /^(not )?ok \d+/.test(line));
  const trouble = lines.filter((line) => /^(not ok|#)/.test(line));
  expect(trouble).toEqual([]);
  expect([first, last]).toEqual(['1', String(tests.length)]);
}

describe('on PGlite', () => {
  let database: Database;
  beforeAll(async () => {
    database = await openDatabase({ keys: await createKeys() });
  });
  afterAll(() => database?.close());

  test.each(names)('%s', async (name) => {
    const results = await database.pg.exec(read(name), { rowMode: 'array' });
    expectPassed(results.flatMap((result) => result.rows as unknown[][]).flat());
  });
});

describe.skipIf(postgresVersion === null)('on PostgreSQL, as a role that is no superuser', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgresServer();
  });
  afterAll(() => server?.close());

  async function runAll(name: string): Promise<void> {
    const client = await server.pool.connect();
    try {
      const given = (await client.query({ text: read(name), rowMode: 'array' })) as unknown;
      const results = given as { rows: unknown[][] }[];
      expectPassed(results.flatMap(({ rows }) => rows).flat());
    } finally {
      client.release();
    }
  }

  test.each(names)('%s, in a new database', runAll);

  describe('in a database that is used', () => {
    beforeAll(async () => {
      await server.pool.query(`
        insert into storage_projects (id, owner_id)
        select 'used-' || n, gen_random_uuid() from generate_series(1, 50) n;
        insert into storage_generations
          (project_id, version, generation_id, bucket, object_key, status, archive_bytes, deleted_at)
        select 'used-' || p, n, 'g', 'used', p || '/' || n, case n when 3 then 'deleted' else 'verified' end,
          100, case n when 3 then now() end
        from generate_series(1, 50) p, generate_series(1, 3) n;
        insert into storage_archives (bucket, object_key, project_id, version, state, state_at)
        select bucket, object_key, project_id, version,
          case when deleted_at is null then 'current' else 'unneeded' end, now() - interval '1 day'
        from storage_generations where bucket = 'used';
        insert into storage.buckets (id, name, public) values ('used', 'used', false);
        insert into storage.objects (bucket_id, name)
        select 'used', object_key from storage_generations where bucket = 'used';
      `);
    });

    test.each(names)('%s', runAll);
  });
});
