/**
 * `@supabase/lite` gives Auth and REST on the same PGlite. Where it differs from the platform it
 * is mended here, in the one file that touches its inner parts; its version is pinned exactly.
 * `tests/stack/lite.test.ts` holds one test for each mend.
 */
import { inspect } from 'node:util';
import type { PGlite, Transaction } from '@electric-sql/pglite';
import { App } from '@supabase/lite';
import type { PgliteConnection } from '@supabase/lite/pglite';
import { jwtVerify } from 'jose';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import type { Keys } from './keys.ts';

/** Auth (`/auth/v1`) and REST (`/rest/v1`) as one application. */
export type LiteApp = {
  init(): Promise<unknown>;
  ensureSystemSchema(): Promise<unknown>;
  fetch(request: Request): Response | Promise<Response>;
};

const ROLES = ['anon', 'authenticated', 'service_role'];

/** The parts of a connection that its types hide. */
type Insides = {
  kysely: unknown;
  rlsState: string;
  normalizeDbError: (error: unknown) => unknown;
  applyJwtSessionContext: (
    transaction: { executeQuery(query: CompiledQuery): Promise<unknown> },
    context: { auth?: { role?: string; uid?: string; jwt?: unknown } },
  ) => Promise<void>;
};

/** Makes the Auth and REST application on a connection, with everything mended. */
export function createLiteApp(connection: PgliteConnection, keys: Keys): LiteApp {
  const insides = connection as unknown as Insides;
  insides.kysely = createKysely(connection.driver);
  insides.normalizeDbError = toRestError;
  insides.applyJwtSessionContext = applyContext;
  const secret = new TextEncoder().encode(keys.jwtSecret);
  return new App({
    connection,
    api: { enabled: true, schemas: ['public'], max_rows: 1000 },
    auth: {
      enabled: true,
      jwt_secret: keys.jwtSecret,
      publishable_key: keys.publishableKey,
      secret_key: keys.secretKey,
      jwt_expiry: 3600,
      enable_signup: true,
      email: { enable_confirmations: false },
    },
    options: {
      server: {
        disableStudio: true,
        apiKeys: {
          resolver: async (key: string) => {
            if (key === keys.publishableKey) {
              return { type: 'publishable', claims: { role: 'anon' } };
            }
            if (key === keys.secretKey) return { type: 'secret', claims: { role: 'service_role' } };
            const claims = await jwtVerify(key, secret, { algorithms: ['HS256'] }).then(
              (verified) => verified.payload,
              () => null,
            );
            if (claims?.role === 'anon') return { type: 'publishable', claims };
            return claims?.role === 'service_role' ? { type: 'secret', claims } : null;
          },
        },
      },
    },
  } as ConstructorParameters<typeof App>[0]) as unknown as LiteApp;
}

/**
 * Tells lite that row level security is in order: without it lite grants everything on every
 * table to `anon` and `authenticated`. To be called once the migrations are applied.
 */
export async function finishSchema(connection: PgliteConnection): Promise<void> {
  (connection as unknown as Insides).rlsState = 'active';
  await connection.clearSchemaCache();
}

/**
 * Lite sends a bare BEGIN and COMMIT: mixed with transactions of our own, which share the one
 * session of PGlite, statements of one end up in the other. This driver holds PGlite's own lock.
 */
function createKysely(pg: PGlite): Kysely<unknown> {
  return new Kysely({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new LockingDriver(pg),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  });
}

class LockingDriver implements Driver {
  readonly #pg: PGlite;
  constructor(pg: PGlite) {
    this.#pg = pg;
  }
  async init(): Promise<void> {}
  async destroy(): Promise<void> {}
  async acquireConnection(): Promise<DatabaseConnection> {
    return new LockingConnection(this.#pg);
  }
  async releaseConnection(): Promise<void> {}
  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LockingConnection).begin();
  }
  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LockingConnection).end('commit');
  }
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LockingConnection).end('rollback');
  }
}

class LockingConnection implements DatabaseConnection {
  readonly #pg: PGlite;
  #transaction: Transaction | null = null;
  #finish: (how: 'commit' | 'rollback') => void = () => {};
  #finished: Promise<unknown> = Promise.resolve();

  constructor(pg: PGlite) {
    this.#pg = pg;
  }

  begin(): Promise<void> {
    const { promise: begun, resolve, reject } = Promise.withResolvers<void>();
    const { promise: how, resolve: finish } = Promise.withResolvers<'commit' | 'rollback'>();
    this.#finish = finish;
    this.#finished = this.#pg.transaction(async (transaction) => {
      this.#transaction = transaction;
      resolve();
      if ((await how) === 'rollback') await transaction.rollback();
    });
    this.#finished.catch(reject);
    return begun;
  }

  async end(how: 'commit' | 'rollback'): Promise<void> {
    this.#finish(how);
    this.#transaction = null;
    await this.#finished;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const result = await (this.#transaction ?? this.#pg).query<R>(query.sql, [...query.parameters]);
    return {
      rows: result.rows,
      ...(typeof result.affectedRows === 'number'
        ? { numAffectedRows: BigInt(result.affectedRows) }
        : {}),
    };
  }

  // biome-ignore lint/correctness/useYield: the interface asks for a generator.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('PGlite does not stream');
  }
}

/** A failed CHECK and a RAISE are the caller's fault on the platform (400); lite answers 500. */
function toRestError(error: unknown): unknown {
  const { code, message, detail, hint } = (error ?? {}) as Record<string, unknown>;
  if (typeof code !== 'string') return error;
  const brief = { [inspect.custom]: () => `[db ${code}] ${message}` };
  if (!['23514', 'P0001', '23P01'].includes(code)) return Object.assign(error as object, brief);
  const body = JSON.stringify({ code, message, details: detail ?? null, hint: hint ?? null });
  const detailed = {
    code: 'PGRST',
    detail: JSON.stringify({ status: 400, headers: {} }),
    ...brief,
  };
  return Object.assign(new Error(body), detailed);
}

/**
 * Sets who asks, in one statement where lite needs five. Lite would take any role that a token
 * names, `postgres` among them.
 */
async function applyContext(
  transaction: { executeQuery(query: CompiledQuery): Promise<unknown> },
  context: { auth?: { role?: string; uid?: string; jwt?: unknown } },
): Promise<void> {
  const role = context.auth?.role || 'anon';
  if (!ROLES.includes(role)) {
    throw Object.assign(new Error(`permission denied to set role "${role}"`), { code: '42501' });
  }
  const claims = context.auth?.jwt;
  await transaction.executeQuery(
    CompiledQuery.raw(
      `select set_config('role', $1, true), set_config('request.jwt.claim.sub', $2, true),
        set_config('request.jwt.claim.role', $1, true), set_config('request.jwt.claims', $3, true)`,
      [
        role,
        String(context.auth?.uid ?? ''),
        claims !== null && typeof claims === 'object' ? JSON.stringify(claims) : '',
      ],
    ),
  );
}
