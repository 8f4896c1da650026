/**
 * 1 000 000 rows in `generations`: what a page of a list takes of PostgreSQL, for a signed-in user
 * under row level security, beside a database that holds one project.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, openDatabase } from '../../supabase/embedded/database.ts';
import { createKeys } from '../../supabase/embedded/keys.ts';
import { alternate, atMost, type Measured, ratios, told } from './measure.ts';

const PROJECTS = 10_000;
const VERSIONS = 100;
const ROUNDS = 300;
const OWNER = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';

const GENERATIONS = `select jsonb_array_length(storage_list_generations('p1', 51, 80)) as count`;
const PAGE_OF_PROJECTS = `select jsonb_array_length(storage_list_projects(51)) as count`;

export async function rows(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  const small = await open(join(folder, 'small'), 1);
  const large = await open(join(folder, 'large'), PROJECTS);
  try {
    const [generations, projects] = [
      await compare(small, large, GENERATIONS),
      await compare(small, large, PAGE_OF_PROJECTS),
    ];
    return [
      atMost(
        'list of generations, 1 000 000 rows: times one project',
        ratios(generations.large, generations.small),
        '×',
        1.2,
      ),
      told('list of generations, 1 000 000 rows', generations.large, 'ms'),
      told(
        'list of projects, 51 beside 1: times one project',
        ratios(projects.large, projects.small),
        '×',
      ),
      told('list of projects, 1 000 000 rows', projects.large, 'ms'),
    ];
  } finally {
    await small.close();
    await large.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(small: Database, large: Database, sql: string) {
  const { rows } = await large.pg.query<{ count: number }>(sql);
  if (rows[0]?.count !== 51) throw new Error(`A page has ${rows[0]?.count} items: ${sql}`);
  return alternate(
    { small: () => small.pg.query(sql), large: () => large.pg.query(sql) },
    { rounds: ROUNDS },
  );
}

/** A database with so many projects; from then on it is the owner of each hundredth who asks. */
async function open(folder: string, projects: number): Promise<Database> {
  const database = await openDatabase({ keys: await createKeys(), folder });
  await database.pg.exec(`
    insert into storage_projects (id, owner_id, created_at)
    select 'p' || n, case when n % 100 = 1 then '${OWNER}'::uuid else gen_random_uuid() end,
      now() - n * interval '1 minute'
    from generate_series(1, ${projects}) n;`);
  // In parts: a transaction of all would not fit into memory.
  for (let first = 1; first <= projects; first += 500) {
    await database.pg.exec(`
      insert into storage_generations
        (project_id, version, generation_id, bucket, object_key, status, digest, sha256)
      select 'p' || p, n, 'g' || n, 'codebegen-projects', p || '/' || n, 'verified',
        repeat('d', 64), repeat('s', 64)
      from generate_series(${first}, ${Math.min(first + 499, projects)}) p,
        generate_series(1, ${VERSIONS}) n;`);
  }
  await database.pg.exec(`
    analyze;
    select set_config('role', 'authenticated', false),
      set_config('request.jwt.claim.sub', '${OWNER}', false),
      set_config('request.jwt.claims', '{"sub":"${OWNER}","role":"authenticated"}', false);`);
  return database;
}
