/** What users keep and download, with a million rows of it: on real PostgreSQL. */
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type PostgresServer,
  postgresVersion,
  startPostgresServer,
} from '../support/postgres-server.ts';

const ADA = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const PROJECTS = 20;
const DAYS = 30;

/** What a user asks: each touches the table, or reads it. */
const STATEMENTS = {
  history: `select storage_usage_history(${DAYS})`,
  download: `select storage_download_generation('p1', 1)`,
};

describe.skipIf(postgresVersion === null)('a million rows', () => {
  let server: PostgresServer;
  let client: PoolClient;
  beforeAll(async () => {
    server = await startPostgresServer();
    client = await server.pool.connect();
    await client.query(`
      insert into storage_projects (id, owner_id)
      select 'p' || n, case when n <= ${PROJECTS} then '${ADA}'::uuid else gen_random_uuid() end
      from generate_series(1, 4000) n;
      insert into storage_generations
        (project_id, version, generation_id, bucket, object_key, status, archive_bytes)
      select 'p' || p, n, 'g', 'b', p || '/' || n, 'verified', 10
      from generate_series(1, ${PROJECTS}) p, generate_series(1, 50) n;
      analyze`);
  }, 60_000);
  afterAll(async () => {
    client?.release();
    await server?.close();
  });

  /** How many pages of 8 KiB a statement reads. Unlike its time it is the same on any machine. */
  async function pagesOf(statement: string): Promise<number> {
    // The first one reads what PostgreSQL knows of the tables, too.
    await client.query(statement);
    const { rows } = await client.query(`explain (analyze, buffers, format json) ${statement}`);
    const { Plan: plan } = rows[0]['QUERY PLAN'][0];
    return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
  }

  test('are read no more of than is asked for, and counted as quickly as none', async () => {
    await client.query(`select set_config('request.jwt.claim.sub', '${ADA}', false)`);
    const countedIntoNone = await pagesOf(STATEMENTS.download);
    await client.query(`
      insert into storage_usage_daily
      select 'p' || p, current_date - 1 - d, 1, 1, 1, 1
      from generate_series(1, 4000) p, generate_series(0, 249) d`);
    await client.query('vacuum analyze storage_usage_daily');
    const { rows } = await client.query(
      `select relpages as pages from pg_class where relname = 'storage_usage_daily'`,
    );
    expect(rows[0].pages).toBeGreaterThan(5000);
    // Thirty days of twenty projects, whose rows may each lie on a page of its own.
    expect(await pagesOf(STATEMENTS.history)).toBeLessThan(DAYS * PROJECTS * 2);
    expect(await pagesOf(STATEMENTS.download)).toBeLessThan(countedIntoNone + 20);
  }, 60_000);
});
