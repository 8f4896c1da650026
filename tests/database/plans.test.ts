/** The plans of the queries behind lists: an index, and no more rows than a page has. */
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../supabase/embedded/database.ts';
import { createKeys } from '../../supabase/embedded/keys.ts';
import {
  type PostgresServer,
  postgresVersion,
  startPostgresServer,
} from '../support/postgres-server.ts';

const ADA = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const LIMIT = 51;

/** Runs statements in one transaction, which is rolled back. */
type Query = (sql: string) => Promise<Record<string, unknown>[]>;
type Run = (work: (query: Query) => Promise<void>) => Promise<void>;

/** @param others how many versions others have, beside the 15 000 of Ada */
const fillWith = (others: number) => `
  insert into storage_projects (id, owner_id, created_at)
  select 'p' || n, case when n <= 2000 then '${ADA}'::uuid else gen_random_uuid() end,
    now() - n * interval '1 minute'
  from generate_series(1, 6000) n;
  insert into storage_generations
    (project_id, version, generation_id, bucket, object_key, status, archive_bytes)
  select 'p' || p, n, 'g', 'b', p || '/' || n, 'verified', 10
  from generate_series(1, 10) p, generate_series(1, case when p = 1 then 10000 else 500 end) n;
  insert into storage_generations
    (project_id, version, generation_id, bucket, object_key, status, archive_bytes)
  select 'p' || 2001 + n % 4000, 1 + n / 4000, 'g', 'b', 'o/' || n, 'verified', 10
  from generate_series(0, ${others} - 1) n;
  update storage_generations set status = 'deleted', deleted_at = now()
  where project_id = 'p1' and version % 10 = 0;
  insert into storage_manifests (project_id, version, manifest)
  select 'p1', n, '{"entries": [{"path": "a", "size": 1, "sha256": "s", "mode": 420}]}'
  from generate_series(1, 2000) n;
  analyze;
`;

type Plan = {
  'Node Type': string;
  'Relation Name'?: string;
  Alias?: string;
  'Index Name'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  Plans?: Plan[];
};

/** A parameter of a function: its type, and a value. */
type Argument = readonly [type: string, value: string];

/**
 * The plan of the body of an SQL function, as it runs: for a signed-in user, and made before the
 * values of its parameters are known.
 */
async function explain(
  run: Run,
  name: string,
  args: Record<string, Argument> = {},
): Promise<Plan[]> {
  const all: Plan[] = [];
  await run(async (query) => {
    const found = await query(`select prosrc from pg_proc where proname = '${name}'`);
    const body = Object.keys(args).reduce(
      (text, arg, i) => text.replaceAll(new RegExp(`\\b${arg}\\b`, 'g'), `$${i + 1}`),
      found[0]!.prosrc as string,
    );
    const types = Object.values(args).map(([type]) => type);
    const values = Object.values(args).map(([, value]) => value);
    const inBrackets = (items: readonly string[]) => (items.length === 0 ? '' : `(${items})`);
    await query('set local plan_cache_mode = force_generic_plan');
    await query(`select set_config('role', 'authenticated', true),
      set_config('request.jwt.claim.sub', '${ADA}', true),
      set_config('request.jwt.claims', '{"sub":"${ADA}","role":"authenticated"}', true)`);
    await query(`prepare page ${inBrackets(types)} as ${body}`);
    const explained = await query(
      `explain (analyze, format json) execute page ${inBrackets(values)}`,
    );
    await query('deallocate page');
    const visit = (plan: Plan) => {
      all.push(plan);
      plan.Plans?.forEach(visit);
    };
    visit((explained[0] as { 'QUERY PLAN': [{ Plan: Plan }] })['QUERY PLAN'][0].Plan);
  });
  return all;
}

describe('on PGlite, with 15 000 versions', () => {
  let database: Database;
  beforeAll(async () => {
    database = await openDatabase({ keys: await createKeys() });
    await database.pg.exec(fillWith(1));
  }, 120_000);
  afterAll(() => database?.close());
  expectGoodPlans(async (work) => {
    await database.pg.transaction(async (transaction) => {
      await work(async (sql) => (await transaction.query<Record<string, unknown>>(sql)).rows);
      await transaction.rollback();
    });
  });
});

describe.skipIf(postgresVersion === null)('on PostgreSQL, with 100 000 versions', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgresServer();
    await server.pool.query(fillWith(85_000));
  }, 120_000);
  afterAll(() => server?.close());
  expectGoodPlans(async (work) => {
    const client: PoolClient = await server.pool.connect();
    try {
      await client.query('begin');
      await work(async (sql) => (await client.query(sql)).rows);
    } finally {
      await client.query('rollback');
      client.release();
    }
  });
});

function expectGoodPlans(run: Run): void {
  test.each([
    ['the first page', '2147483648'],
    ['a page in the middle', '5000'],
    ['the last page', '20'],
  ])('%s of 10 000 versions is read from the index, no row more', async (_, before) => {
    const plans = await explain(run, 'storage_list_generations', {
      p_project_id: ['text', `'p1'`],
      p_limit: ['integer', String(LIMIT)],
      p_before: ['bigint', before],
    });
    const scans = plans.filter((plan) => plan['Relation Name'] === 'storage_generations');
    expect(scans).toMatchObject([
      { 'Node Type': 'Index Scan', 'Index Name': 'storage_generations_listed' },
    ]);
    expect(scans[0]!['Actual Rows']).toBeLessThanOrEqual(LIMIT);
    expect(scans[0]!['Rows Removed by Filter'] ?? 0).toBe(0);
    const types = plans.map((plan) => `${plan['Node Type']} ${plan['Relation Name'] ?? ''}`);
    expect(types).not.toContain('Seq Scan storage_projects');
  });

  test.each([
    ['the first page', `'infinity'`, `''`],
    ['a later page', `now() - interval '1000 minutes'`, `'p1000'`],
  ])('%s of 2 000 projects is read from the index, no row more', async (_, time, id) => {
    const plans = await explain(run, 'storage_list_projects', {
      p_limit: ['integer', String(LIMIT)],
      p_before_created_at: ['timestamptz', time],
      p_before_id: ['text', id],
    });
    const scans = plans.filter((plan) => plan.Alias === 'storage_projects');
    expect(scans).toMatchObject([
      { 'Node Type': 'Index Scan', 'Index Name': 'storage_projects_by_owner' },
    ]);
    expect(scans[0]!['Actual Rows']).toBeLessThanOrEqual(LIMIT);
    expect(scans[0]!['Rows Removed by Filter'] ?? 0).toBe(0);
    const generations = plans.filter((plan) => plan['Relation Name'] === 'storage_generations');
    expect(generations.map((plan) => plan['Node Type'])).not.toContain('Seq Scan');
  });

  test('what a user has is summed up from the index, and nothing of others is read', async () => {
    const plans = await explain(run, 'storage_usage');
    const read = plans
      .filter((plan) => plan['Relation Name'] === 'storage_generations')
      .map((plan) => (plan['Actual Rows'] ?? 0) * (plan['Actual Loops'] ?? 1));
    // Ada has 14 500 versions, of which 1000 are deleted.
    expect(Math.max(...read)).toBeLessThanOrEqual(14_500);
    const types = plans.map((plan) => `${plan['Node Type']} ${plan['Relation Name'] ?? ''}`);
    expect(types).not.toContain('Seq Scan storage_generations');
  });

  test.each<[string, Record<string, Argument>]>([
    ['storage_get_generation', {}],
    ['storage_manifest_files', { p_folder: ['text', `'source'`] }],
  ])('%s reads one row, and no project of others', async (name, more) => {
    const plans = await explain(run, name, {
      p_project_id: ['text', `'p1'`],
      p_version: ['integer', '7'],
      ...more,
    });
    const read = plans.filter((plan) => plan['Relation Name'] !== undefined);
    expect(read.length).toBeGreaterThan(0);
    for (const plan of read) {
      expect(plan['Node Type'], plan['Relation Name']).toMatch(/^Index/);
      // Row level security may look which projects are the caller's: those are 2000.
      const isProjects = plan['Relation Name'] === 'storage_projects';
      expect(plan['Actual Rows']).toBeLessThanOrEqual(isProjects ? 2000 : 1);
    }
  });

  test('a project of many versions is deleted in a time that grows as they do', async () => {
    const sizes = [500, 4000] as const;
    const fastest = sizes.map(() => Infinity);
    for (let round = 0; round < 3; round++) {
      await run(async (query) => {
        await query('create schema realtime');
        await query(`create function realtime.send(jsonb, text, text, boolean) returns void
          language sql as ''`);
        await query(`select set_config('request.jwt.claim.sub', '${ADA}', true),
          set_config('request.jwt.claims', '{"sub":"${ADA}","role":"authenticated"}', true)`);
        const timeDeletion = async (size: number) => {
          const project = `d${size}`;
          await query(
            `insert into storage_projects (id, owner_id) values ('${project}', '${ADA}')`,
          );
          await query(`insert into storage_generations
            (project_id, version, generation_id, bucket, object_key, status, archive_bytes)
            select '${project}', n, 'g', 'b', '${project}/' || n, 'verified', 10
            from generate_series(1, ${size}) n`);
          const began = performance.now();
          await query(`select storage_delete_project('${project}', 1000, true)`);
          return performance.now() - began;
        };
        // A connection keeps the plans of triggers that it made for a single row.
        await timeDeletion(1);
        for (const [i, size] of sizes.entries()) {
          fastest[i] = Math.min(fastest[i]!, await timeDeletion(size));
        }
      });
    }
    // Eight times as many; the square of it would be 64.
    expect(fastest[1]! / fastest[0]!).toBeLessThan(20);
  }, 120_000);
}
