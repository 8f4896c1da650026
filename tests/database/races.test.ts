/** The SQL functions on a real PostgreSQL, by 24 sessions at once: what must hold holds at the end. */
import { hash, randomUUID } from 'node:crypto';
import type { PoolClient } from 'pg';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type PostgresServer,
  postgresVersion,
  startPostgresServer,
} from '../support/postgres-server.ts';
import { makeRandom } from '../support/random.ts';

const SESSIONS = 24;
const BUCKET = 'codebegen-projects';
const USER = randomUUID();
/** Of a transaction that may be tried again: a deadlock, or one that came in between. */
const RETRYABLE = new Set(['40P01', '40001']);

type Json = Record<string, unknown>;

describe.skipIf(postgresVersion === null)('24 sessions of PostgreSQL', () => {
  let server: PostgresServer;
  let sessions: Pool;

  beforeAll(async () => {
    server = await startPostgresServer();
    sessions = new Pool({ ...server.config('authenticator'), max: SESSIONS });
    sessions.on('error', () => {});
    await server.pool.query(
      `insert into storage.buckets (id, name, public) values ('${BUCKET}', '${BUCKET}', false)`,
    );
  });
  afterAll(async () => {
    await sessions?.end();
    await server?.close();
  });

  /** Calls a function as PostgREST does: in a transaction, with the role and the claims of a token. */
  async function call<T = Json>(
    name: string,
    args: readonly unknown[],
    as: 'service_role' | 'authenticated' = 'service_role',
  ): Promise<T> {
    for (;;) {
      const client = await sessions.connect();
      try {
        return await inTransaction(client, as, async () => {
          const places = args.map((_, i) => `$${i + 1}`);
          const { rows } = await client.query(`select public.${name}(${places}) as answer`, [
            ...args,
          ]);
          return rows[0].answer as T;
        });
      } catch (error) {
        if (!RETRYABLE.has((error as { code: string }).code)) throw error;
      } finally {
        client.release();
      }
    }
  }

  async function inTransaction<T>(
    client: PoolClient,
    role: string,
    work: () => Promise<T>,
  ): Promise<T> {
    const claims = JSON.stringify({ role, sub: USER });
    await client.query('begin');
    try {
      await client.query(
        `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`,
        [role, claims],
      );
      const result = await work();
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback');
      throw error;
    }
  }

  const all = <T>(work: (i: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: SESSIONS }, (_, i) => work(i)));

  const reservation = (project: string, version: number, more: Json = {}): Json => ({
    ...{ project_id: project, version, generation_id: `g${version}`, bucket: BUCKET },
    ...{ digest: `d${version}`, sha256: `${version}`.padStart(64, '0'), archive_bytes: 5 },
    ...{
      source_bytes: 5,
      file_count: 1,
      created_at: '2026-11-27T00:00:00Z',
      host_id: randomUUID(),
    },
    ...more,
  });

  /** Puts an object where a host would. */
  const upload = (key: string) =>
    server.pool.query(
      `insert into storage.objects (bucket_id, name, metadata)
       values ($1, $2, '{"eTag": "\\"m\\"", "size": 5}') on conflict do nothing`,
      [BUCKET, key],
    );

  const rowOf = async (project: string, version: number) =>
    (
      await server.pool.query(
        'select * from storage_generations where project_id = $1 and version = $2',
        [project, version],
      )
    ).rows[0];

  test('one version is reserved for one generation', async () => {
    const answers = await all((i) =>
      call('storage_reserve_generation', [
        reservation('one', 1, { generation_id: `g${i}`, owner_id: USER }),
      ]),
    );
    const outcomes = answers.map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'reserved')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'conflict')).toHaveLength(SESSIONS - 1);
    const winner = outcomes.indexOf('reserved');
    expect((await rowOf('one', 1)).generation_id).toBe(`g${winner}`);
  });

  test('of one archive all get the same key; of many each one of its own', async () => {
    const same = await all(() => call('storage_reserve_generation', [reservation('same', 1)]));
    expect(new Set(same.map((answer) => JSON.stringify(answer))).size).toBe(1);
    const many = await all((i) =>
      call('storage_reserve_generation', [
        reservation('many', 1, { sha256: `${i}`.padStart(64, 'a') }),
      ]),
    );
    expect(many.every(({ outcome }) => outcome === 'reserved')).toBe(true);
    expect(new Set(many.map(({ object_key }) => object_key)).size).toBe(SESSIONS);
  });

  test('batches of the same projects in other orders all get through', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `batch-${i}`);
    const answers = await all((i) => {
      const turned = [...names.slice(i % 12), ...names.slice(0, i % 12)];
      const items = turned.map((name) => reservation(name, 1 + i));
      return call<Json[]>('storage_reserve_generations', [JSON.stringify(items)]);
    });
    expect(answers.flat().every(({ outcome }) => outcome === 'reserved')).toBe(true);
    const { rows } = await server.pool.query(
      `select count(*)::int as count from storage_generations where project_id like 'batch-%'`,
    );
    expect(rows[0].count).toBe(12 * SESSIONS);
  });

  test('a project gets one owner', async () => {
    await call('storage_reserve_generation', [reservation('owned', 1)]);
    const owners = Array.from({ length: SESSIONS }, () => randomUUID());
    const answers = await all((i) => call('storage_set_owner', ['owned', owners[i], false]));
    const set = answers.findIndex(({ outcome }) => outcome === 'set');
    expect(answers.filter(({ outcome }) => outcome === 'conflict')).toHaveLength(SESSIONS - 1);
    for (const { outcome, owner_id } of answers) {
      if (outcome === 'conflict') expect(owner_id).toBe(owners[set]);
    }
  });

  test('projects that are created at once are as many', async () => {
    const made = await all(() => call('storage_create_project', ['shop'], 'authenticated'));
    expect(new Set(made.map(({ id }) => id)).size).toBe(SESSIONS);
  });

  test('what is deleted while it is recorded is deleted, and its object is kept', async () => {
    for (let round = 0; round < 5; round++) {
      const project = `deleted-${round}`;
      const item = reservation(project, 1, { owner_id: USER });
      const { object_key: key } = await call('storage_reserve_generation', [item]);
      await upload(key as string);
      const answers = await all((i) =>
        i % 2 === 0
          ? call('storage_record_generation', [{ ...item, object_key: key, status: 'uploaded' }])
          : call('storage_delete_generation', [project, 1, 'g1'], 'authenticated'),
      );
      expect(answers.some((answer) => answer !== null)).toBe(true);
      const row = await rowOf(project, 1);
      expect([row.status, row.deleted_at !== null]).toEqual(['deleted', true]);
      const { rows } = await server.pool.query(
        'select state from storage_archives where project_id = $1',
        [project],
      );
      expect(rows).toEqual([{ state: 'kept' }]);
      const again = await call('storage_reserve_generation', [item]);
      expect(again.outcome).toBe('deleted');
    }
  });

  test('whatever 24 sessions do to some versions, what must hold holds', async () => {
    const random = makeRandom(7);
    const projects = ['mixed-a', 'mixed-b', 'mixed-c'];
    for (const project of projects) {
      for (const version of [1, 2, 3]) {
        await call('storage_reserve_generation', [
          reservation(project, version, { owner_id: USER }),
        ]);
      }
    }
    const step = async () => {
      const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
      const [project, version] = [pick(projects), pick([1, 2, 3])];
      const content = pick(['x', 'y']);
      const item = reservation(project, version, {
        ...{ digest: content, sha256: content.repeat(64), replace: true },
        created_at: `2026-11-27T00:00:0${pick([1, 2, 3])}Z`,
      });
      const kinds = ['reserve', 'reserve', 'reserve', 'activate', 'set', 'delete', 'damage'];
      switch (pick([...kinds, 'undelete', 'content', 'purge', 'list'])) {
        case 'activate':
          await call('storage_activate_generation', [project, version], 'authenticated');
          break;
        case 'set':
          await call('storage_set_active', [project, version, `g${version}`, new Date()]);
          break;
        case 'delete':
          if (version === 3)
            await call('storage_delete_generation', [project, version], 'authenticated');
          break;
        case 'undelete':
          await call('storage_undelete_generation', [project, version], 'authenticated');
          break;
        case 'content':
          await call('storage_record_undeletion', [project, version, `g${version}`, content]);
          break;
        case 'purge':
          // As if its time had come: of one row, so that it waits for nobody who waits for it.
          for (const table of ['storage_generations', 'storage_archives']) {
            await server.pool.query(
              `update ${table} set purge_at = now() where ctid = (
                 select ctid from ${table} where project_id = $1 and version = $2
                   and purge_at is not null limit 1)`,
              [project, version],
            );
          }
          await call('storage_purge', [10]);
          break;
        case 'list':
          await call('storage_list_changes', [100, 0]);
          break;
        case 'damage': {
          const { bucket, object_key } = await rowOf(project, version);
          await call('storage_record_damage', [bucket, project, version, object_key]);
          break;
        }
        default: {
          const { outcome, object_key } = await call('storage_reserve_generation', [item]);
          if (outcome !== 'reserved') return;
          await upload(object_key as string);
          await call('storage_record_generation', [{ ...item, object_key, status: 'verified' }]);
        }
      }
    };
    await all(async () => {
      for (let n = 0; n < 12; n++) await step();
    });
    await expectSound(projects);
  });

  async function expectSound(projects: readonly string[]): Promise<void> {
    const { rows } = await server.pool.query(
      `select
        -- Nothing that is current was given away, and nothing else is current.
        (select count(*)::int from storage_generations g
          where g.project_id = any ($1) and g.status in ('uploaded', 'verified') and not exists (
            select 1 from storage_archives a where a.bucket = g.bucket
              and a.object_key = g.object_key and a.state = 'current'
              and a.digest is not distinct from g.digest)) as without_archive,
        (select count(*)::int from storage_archives a
          join storage_generations g using (project_id, version)
          where a.project_id = any ($1) and a.state = 'current'
            and (g.deleted_at is not null or g.object_key <> a.object_key)) as stray,
        (select count(*)::int from storage_generations g
          where g.project_id = any ($1) and (g.deleted_at is not null) <> (g.status = 'deleted')
        ) as half_deleted,
        (select count(*)::int from storage_projects p
          where p.id = any ($1) and p.active_version is not null and not exists (
            select 1 from storage_generations g where g.project_id = p.id
              and g.version = p.active_version and g.deleted_at is null)) as active_of_nothing,
        -- What can be undone is there, and what is purged nowhere.
        (select count(*)::int from storage_generations g
          where g.project_id = any ($1) and g.purge_at is not null and g.uploaded_at is not null
            and exists (select 1 from storage_archives a where a.bucket = g.bucket
              and a.object_key = g.object_key and a.state not in ('kept', 'unneeded'))) as not_kept,
        (select count(*)::int from storage_generations g
          join storage_archives a using (project_id, version)
          where g.project_id = any ($1) and g.purged_at is not null
            and a.state not in ('unneeded', 'removed')) as not_purged,
        (select count(*)::int from storage_generations g
          where g.project_id = any ($1) and g.epoch > 1 and not exists (
            select 1 from storage_changes c where c.project_id = g.project_id
              and c.version = g.version)) as untold,
        (select count(*)::int from (
          select 1 from storage_archives where project_id = any ($1)
          group by bucket, object_key having count(distinct sha256) > 1) twice) as keys_twice`,
      [projects],
    );
    expect(rows[0]).toEqual({
      ...{ without_archive: 0, stray: 0, half_deleted: 0, active_of_nothing: 0, keys_twice: 0 },
      ...{ not_kept: 0, not_purged: 0, untold: 0 },
    });
  }

  describe('hosts with keys of their own', () => {
    const keyOf = (name: string) => hash('sha256', name);
    const addHosts = async () => {
      const names = [0, 1, 2, 3].map(() => `host-${randomUUID().slice(0, 13)}`);
      for (const name of names) {
        const args = [name, keyOf(name), 'own', 'own', [], null, BUCKET];
        await call('storage_add_host', args);
      }
      const { rows } = await server.pool.query('select id, name from storage_hosts');
      const idOf = new Map(rows.map(({ id, name }) => [name as string, id as string]));
      return { names, idOf };
    };
    const reserve = (name: string, project: string, version: number) =>
      call<Json[]>('storage_host_reserve', [
        keyOf(name),
        JSON.stringify([reservation(project, version)]),
      ]);

    test('of those that create a project at once one has it, and all that is in it', async () => {
      const { names, idOf } = await addHosts();
      for (let round = 0; round < 8; round++) {
        const project = `new-${randomUUID()}`;
        const answers = await all(async (i) => {
          const name = names[i % names.length]!;
          // In either case of its letters: it is one project.
          const id = i % 3 === 0 ? project.toUpperCase() : project;
          const [answer] = await reserve(name, id, 1 + (i >> 2));
          return { name, id, outcome: answer!.outcome };
        });
        const { rows } = await server.pool.query(
          'select id, created_by from storage_projects where lower(id) = lower($1)',
          [project],
        );
        expect(rows).toHaveLength(1);
        const won = answers.filter(({ outcome }) => outcome === 'reserved');
        expect(won.length).toBeGreaterThan(0);
        for (const { name, id } of won) {
          expect([id, idOf.get(name)]).toEqual([rows[0].id, rows[0].created_by]);
        }
        const { rows: held } = await server.pool.query(
          'select distinct reserved_by from storage_generations where project_id = $1',
          [rows[0].id],
        );
        expect(held).toEqual([{ reserved_by: rows[0].created_by }]);
      }
    });

    test('nothing is done by a key after it is revoked', async () => {
      const { names } = await addHosts();
      const [name] = names as [string];
      const project = `revoked-${randomUUID()}`;
      let revoked = false;
      const done = await all(async (i) => {
        if (i === SESSIONS / 2) {
          await call('storage_revoke_host', [name]);
          revoked = true;
          return 'revoked';
        }
        const wasRevoked = revoked;
        return reserve(name, project, i + 1).then(
          () => (wasRevoked ? 'late' : 'reserved'),
          (error: { code: string }) => error.code,
        );
      });
      expect(done).not.toContain('late');
      await expect(reserve(name, project, 99)).rejects.toMatchObject({ code: 'PT401' });
      const { rows } = await server.pool.query(
        'select count(*)::int as n from storage_generations where project_id = $1',
        [project],
      );
      expect(rows[0].n).toBe(done.filter((outcome) => outcome === 'reserved').length);
    });

    test('revoking waits for what is under way', async () => {
      const { names } = await addHosts();
      const [name] = names as [string];
      const items = JSON.stringify([reservation(`waits-${randomUUID()}`, 1)]);
      const [working, revoking] = [await sessions.connect(), await sessions.connect()];
      try {
        await inTransaction(working, 'service_role', async () => {
          const reserve = 'select public.storage_host_reserve($1, $2)';
          await working.query(reserve, [keyOf(name), items]);
          const revoke = inTransaction(revoking, 'service_role', async () => {
            await revoking.query(`set local lock_timeout = '100ms'`);
            await revoking.query('select public.storage_revoke_host($1)', [name]);
          });
          await expect(revoke).rejects.toMatchObject({ code: '55P03' });
        });
      } finally {
        working.release();
        revoking.release();
      }
      expect(await call('storage_revoke_host', [name])).toEqual({ outcome: 'revoked' });
    });

    test("deleted, undeleted, recorded and handed over at once: it is one host's, and whole", async () => {
      const { names, idOf } = await addHosts();
      const [one, other] = names as [string, string];
      const project = `handed-${randomUUID()}`;
      const [reserved] = await reserve(one, project, 1);
      await upload(String(reserved!.object_key));
      const item = {
        ...{ project_id: project, version: 1, object_key: reserved!.object_key },
        ...{ sha256: '1'.padStart(64, '0'), status: 'uploaded', md5: 'm' },
      };
      const deletion = {
        ...{ project_id: project, version: 1, generation_id: 'g1', digests: null, epoch: 9 },
        host_id: randomUUID(),
      };
      await all((i) => {
        switch (i % 4) {
          case 0:
            return call('storage_host_record', [keyOf(one), JSON.stringify([item])]);
          case 1:
            return call('storage_host_delete', [keyOf(one), JSON.stringify(deletion)]);
          case 2:
            return call('storage_host_undelete', [keyOf(one), project, 1]);
          default:
            return call('storage_assign_projects', [other, [project]]);
        }
      });
      const row = await rowOf(project, 1);
      expect(row.reserved_by).toBe(idOf.get(one));
      const { rows } = await server.pool.query(
        'select state, reserved_by from storage_archives where project_id = $1',
        [project],
      );
      expect(rows).toHaveLength(1);
      expect(rows[0].reserved_by).toBe(idOf.get(one));
      // Where the host is gone, the other one has it.
      await call('storage_revoke_host', [one]);
      await call('storage_assign_projects', [other, [project]]);
      expect((await rowOf(project, 1)).reserved_by).toBe(idOf.get(other));
    });
  });
});
