/** One test for each thing that `lite.ts` mends: a new version of lite shows here first. */
import { createClient } from '@supabase/supabase-js';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stack, startStack } from '../../supabase/embedded/stack.ts';

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ port: 0, functions: false });
  await stack.database.pg.exec(`
    create table public.notes (id int primary key, text text check (text <> 'bad'), at timestamptz default now());
    grant all on public.notes to service_role;
    create function public.shout() returns void language plpgsql as $$ begin raise exception 'loud'; end $$;
  `);
});
afterAll(() => stack?.close());

const service = () =>
  createClient(stack.url, stack.keys.secretKey, { auth: { persistSession: false } });

test('requests and transactions of our own do not get into each other', async () => {
  const client = service();
  const own = Array.from({ length: 50 }, (_, i) =>
    stack.database.pg.transaction(async (transaction) => {
      await transaction.query(`select set_config('role', 'anon', true)`);
      await transaction.query('select 1');
      const role = await transaction.query<{ role: string }>(`select current_user as role`);
      expect(role.rows[0]?.role).toBe('anon');
      return i;
    }),
  );
  const requests = Array.from({ length: 50 }, (_, i) =>
    client.from('notes').insert({ id: i, text: `note ${i}` }),
  );
  const answers = await Promise.all(requests);
  expect(answers.filter((answer) => answer.error !== null)).toEqual([]);
  expect(await Promise.all(own)).toHaveLength(50);
  expect((await client.from('notes').select('id')).data).toHaveLength(50);
});

test('nothing is granted that the migrations did not grant', async () => {
  const grants = await stack.database.pg.query<{ grantee: string; privilege_type: string }>(
    `select grantee, privilege_type from information_schema.role_table_grants
     where table_name like 'storage\\_%' and table_schema = 'public'
       and grantee in ('anon', 'authenticated')`,
  );
  expect(new Set(grants.rows.map((row) => `${row.grantee} ${row.privilege_type}`))).toEqual(
    new Set(['authenticated SELECT']),
  );
});

test('a CHECK that fails and a RAISE are 400, with their code', async () => {
  const checked = await service().from('notes').insert({ id: 1000, text: 'bad' });
  expect(checked).toMatchObject({ status: 400, error: { code: '23514' } });
  const raised = await service().rpc('shout');
  expect(raised).toMatchObject({ status: 400, error: { code: 'P0001', message: 'loud' } });
});

test('times are ISO 8601', async () => {
  await service().from('notes').insert({ id: 2000, text: 'now' });
  const { data } = await service().from('notes').select('at').eq('id', 2000).single();
  expect(data?.at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d$/);
});

test.each(['postgres', 'supabase_admin', 'pg_read_all_data'])(
  'a token of the role %s is refused, although it is signed',
  async (role) => {
    const token = await new SignJWT({ role, sub: '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(stack.keys.jwtSecret));
    const client = createClient(stack.url, stack.keys.publishableKey, {
      accessToken: async () => token,
    });
    expect((await client.from('notes').select()).error).not.toBeNull();
    expect((await client.storage.from('b').list()).error).not.toBeNull();
  },
);
