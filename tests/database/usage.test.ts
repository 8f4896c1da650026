/** What users keep and download, with a million rows of it: on real PostgreSQL. */
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type PostgresServer,
  postgresVersion,
  startPostgresServer,
} from '../support/postgres-server.ts';

const ADA = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const RUNS = 15;

/** What a user asks, and a host: each touches the table, or reads it. */
const STATEMENTS = {
  history: `select storage_usage_history(30)`,
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
      select 'p' || n, case when n <= 20 then '${ADA}'::uuid else gen_random_uuid() end
      from generate_series(1, 4000) n;
      insert into storage_generations
        (project_id, version, generation_id, bucket, object_key, status, archive_bytes)
      select 'p' || p, n, 'g', 'b', p || '/' || n, 'verified', 10
      from generate_series(1, 20) p, generate_series(1, 50) n;
      analyze`);
  }, 60_000);
  afterAll(async () => {
    client?.release();
    await server?.close();
  });

  /** The middle of some runs, in milliseconds. */
  async function timeOf(statement: string): Promise<number> {
    const times: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      const begun = performance.now();
      const { rows } = await client.query(statement);
      times.push(performance.now() - begun);
      expect(Object.values(rows[0])[0]).not.toBeNull();
    }
    return times.toSorted((a, b) => a - b)[Math.floor(RUNS / 2)]!;
  }

  test('are as fast as none, for who reads them and who counts', async () => {
    await client.query(`select set_config('request.jwt.claim.sub', '${ADA}', false)`);
    const without = [await timeOf(STATEMENTS.history), await timeOf(STATEMENTS.download)];
    await client.query(`
      insert into storage_usage_daily
      select 'p' || p, current_date - 1 - d, 1, 1, 1, 1
      from generate_series(1, 4000) p, generate_series(0, 249) d`);
    await client.query('analyze storage_usage_daily');
    const { rows } = await client.query('select count(*)::int as n from storage_usage_daily');
    expect(rows[0].n).toBeGreaterThan(1_000_000);
    const withThem = [await timeOf(STATEMENTS.history), await timeOf(STATEMENTS.download)];
    // History has thirty days of twenty projects to add up; else nothing is new.
    expect(withThem[0]! / without[0]!).toBeLessThan(5);
    expect(withThem[1]! / without[1]!).toBeLessThan(3);
  }, 60_000);
});
