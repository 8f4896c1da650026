/** The plans of the queries behind lists: an index, and no more rows than a page has. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../supabase/embedded/database.ts';
import { createKeys } from '../../supabase/embedded/keys.ts';

const ADA = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const LIMIT = 51;
let database: Database;

beforeAll(async () => {
  database = await openDatabase({ keys: await createKeys() });
  await database.pg.exec(`
    insert into storage_projects (id, owner_id, created_at)
    select 'p' || n, case when n <= 2000 then '${ADA}'::uuid else gen_random_uuid() end,
      now() - n * interval '1 minute'
    from generate_series(1, 6000) n;
    insert into storage_generations (project_id, version, generation_id, bucket, object_key, status)
    select 'p' || p, n, 'g', 'b', p || '/' || n, 'verified'
    from generate_series(1, 10) p, generate_series(1, case when p = 1 then 10000 else 500 end) n;
    update storage_generations set status = 'deleted', deleted_at = now()
    where project_id = 'p1' and version % 10 = 0;
    analyze;
  `);
}, 120_000);
afterAll(() => database?.close());

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
async function explain(name: string, args: Record<string, Argument>): Promise<Plan[]> {
  const { rows } = await database.pg.query<{ prosrc: string }>(
    'select prosrc from pg_proc where proname = $1',
    [name],
  );
  const body = Object.keys(args).reduce(
    (text, arg, i) => text.replaceAll(new RegExp(`\\b${arg}\\b`, 'g'), `$${i + 1}`),
    rows[0]!.prosrc,
  );
  const types = Object.values(args).map(([type]) => type);
  const values = Object.values(args).map(([, value]) => value);
  return database.pg.transaction(async (transaction) => {
    await transaction.exec(`
      set local plan_cache_mode = force_generic_plan;
      select set_config('role', 'authenticated', true),
        set_config('request.jwt.claim.sub', '${ADA}', true),
        set_config('request.jwt.claims', '{"sub":"${ADA}","role":"authenticated"}', true);
      prepare page (${types}) as ${body};
    `);
    const explained = await transaction.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
      `explain (analyze, format json) execute page (${values})`,
    );
    await transaction.exec('deallocate page');
    const all: Plan[] = [];
    const visit = (plan: Plan) => {
      all.push(plan);
      plan.Plans?.forEach(visit);
    };
    visit(explained.rows[0]!['QUERY PLAN'][0].Plan);
    return all;
  });
}

test.each([
  ['the first page', '2147483648'],
  ['a page in the middle', '5000'],
  ['the last page', '20'],
])('%s of 10 000 versions is read from the index, no row more', async (_, before) => {
  const plans = await explain('storage_list_generations', {
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
  const plans = await explain('storage_list_projects', {
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
