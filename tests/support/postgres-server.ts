/** A real PostgreSQL for tests, where this machine has one: Debian's `postgresql`, with pgTAP. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client, type ClientConfig, Pool } from 'pg';
import { readMigrations } from '../../supabase/embedded/migrations.ts';

const DEBIAN = '/usr/lib/postgresql';
const EXTENSIONS = '/usr/share/postgresql';
const SUPABASE = new URL('../../supabase/', import.meta.url);

/** The newest PostgreSQL of this machine that has pgTAP; `null` where there is none. */
export const postgresVersion: string | null = findVersion();

function findVersion(): string | null {
  const version = findInstalled();
  if (version === null && process.env.REQUIRE_POSTGRES === '1') {
    throw new Error(
      'There is no PostgreSQL with pgTAP: apt-get install postgresql postgresql-15-pgtap',
    );
  }
  return version;
}

function findInstalled(): string | null {
  if (!existsSync(DEBIAN)) return null;
  const versions = readdirSync(DEBIAN).filter(
    (version) =>
      existsSync(join(DEBIAN, version, 'bin/initdb')) &&
      existsSync(join(EXTENSIONS, version, 'extension/pgtap.control')),
  );
  return versions.toSorted((a, b) => Number(b) - Number(a))[0] ?? null;
}

export type PostgresServer = Readonly<{
  /** How a role reaches the database. */
  config(user: string): ClientConfig;
  /** As the ordinary role `postgres`, which is no superuser. */
  pool: Pool;
  /** Closes it, and removes its data. */
  close(): Promise<void>;
}>;

/**
 * Starts a server of its own with what hosted Supabase has before the first migration, roles and owners
 * as there, and applies our migrations as the ordinary role `postgres`.
 */
export async function startPostgresServer(): Promise<PostgresServer> {
  const folder = await mkdtemp('/tmp/codebegen-postgres-');
  // It does not run as root.
  const user = process.getuid?.() === 0 ? findUser('postgres') : null;
  if (user !== null) await chown(folder, user.uid, user.gid);
  const bin = (name: string) => join(DEBIAN, postgresVersion!, 'bin', name);
  const data = join(folder, 'data');
  const as = user === null ? {} : user;
  await promisify(execFile)(
    bin('initdb'),
    ['-D', data, '-U', 'supabase_admin', '--auth=trust', '--no-sync', '-E', 'UTF8', '--locale=C'],
    { ...as, cwd: folder },
  );
  const port = await freePort();
  const settings = ['fsync=off', 'max_connections=100', `unix_socket_directories=${folder}`];
  const server = spawn(
    bin('postgres'),
    ['-D', data, '-p', String(port), '-h', '127.0.0.1', ...settings.flatMap((one) => ['-c', one])],
    { ...as, cwd: folder, stdio: 'ignore' },
  );
  const config = (role: string): ClientConfig => ({
    host: '127.0.0.1',
    port,
    user: role,
    database: 'postgres',
  });
  const stop = async () => {
    const exited = once(server, 'exit');
    // At once, without waiting for clients.
    server.kill('SIGINT');
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const admin = await connectPatiently(config('supabase_admin'));
    await admin.query(ROLES);
    await admin.query(await readFile(new URL('embedded/platform.sql', SUPABASE), 'utf8'));
    await admin.query(OWNERS);
    await admin.end();
    const pool = new Pool({ ...config('postgres'), max: 30 });
    // A server that ends takes idle connections along.
    pool.on('error', () => {});
    await migrate(pool);
    const close = async () => {
      await pool.end();
      await stop();
    };
    return { config, pool, close };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Who may do what before anything of ours is there, as on hosted Supabase. */
const ROLES = `
  create role postgres login createrole createdb replication bypassrls;
  create role supabase_storage_admin nologin noinherit createrole;
  create role authenticator login noinherit;
  grant create on database postgres to postgres;
  alter schema public owner to postgres;
`;

/** The platform's tables are another's; \`postgres\` may set policies on them. */
const OWNERS = `
  alter schema storage owner to supabase_storage_admin;
  alter table storage.buckets owner to supabase_storage_admin;
  alter table storage.objects owner to supabase_storage_admin;
  grant supabase_storage_admin to postgres;
  grant anon, authenticated, service_role to postgres with admin option;
  grant anon, authenticated, service_role to authenticator;
  grant all on schema extensions, storage, auth, supabase_migrations to postgres;
  grant all on all tables in schema storage, supabase_migrations to postgres;
  alter publication supabase_realtime owner to postgres;
  alter default privileges for role postgres in schema public
    grant all on tables to anon, authenticated, service_role;
  alter default privileges for role postgres in schema public
    grant all on sequences to anon, authenticated, service_role;
  alter default privileges for role postgres in schema public
    grant execute on functions to anon, authenticated, service_role;
  create extension if not exists pgtap with schema extensions;
`;

async function migrate(pool: Pool): Promise<void> {
  for (const { sql } of await readMigrations()) await pool.query(sql);
}

function findUser(name: string): { uid: number; gid: number } {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** How long it may take to start. */
const START_MS = 30_000;

async function connectPatiently(config: ClientConfig): Promise<Client> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    const client = new Client(config);
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
