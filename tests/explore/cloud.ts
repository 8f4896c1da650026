/**
 * A Supabase without a port: the real SQL functions on PGlite, called as PostgREST calls them, and
 * the embedded Storage; each request is one step.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { Hono } from 'hono';
import { decodeJwt, SignJWT } from 'jose';
import { openDatabase } from '../../supabase/embedded/database.ts';
import { createKeys } from '../../supabase/embedded/keys.ts';
import { createStorageApp } from '../../supabase/embedded/storage/app.ts';
import { Blobs } from '../../supabase/embedded/storage/blobs.ts';
import { Resumable } from '../../supabase/embedded/storage/resumable.ts';
import { Sessions } from '../../supabase/embedded/storage/session.ts';
import { Tokens } from '../../supabase/embedded/tokens.ts';

export const BUCKET = 'codebegen-projects';
export const OWNER = 'c0ffee00-0000-4000-8000-000000000001';
export const CLOUD_URL = 'http://cloud.test';

/** A row of `storage_generations`, as far as the checks need it. */
export type Row = {
  version: number;
  generation_id: string;
  status: string;
  digest: string | null;
  sha256: string | null;
  object_key: string;
};

type Parts = Readonly<{
  pg: PGlite;
  app: Hono;
  serviceKey: string;
  userToken: string;
  close: () => Promise<void>;
}>;

export class Cloud {
  readonly serviceKey: string;
  readonly userToken: string;
  readonly close: () => Promise<void>;
  readonly #pg: PGlite;
  readonly #app: Hono;

  private constructor(parts: Parts) {
    this.serviceKey = parts.serviceKey;
    this.userToken = parts.userToken;
    this.close = parts.close;
    this.#pg = parts.pg;
    this.#app = parts.app;
  }

  static async start(): Promise<Cloud> {
    const folder = await mkdtemp(join(tmpdir(), 'codebegen-explore-'));
    const keys = await createKeys();
    const { pg, close } = await openDatabase({ keys });
    const blobs = new Blobs(join(folder, 'objects'));
    await blobs.open();
    const sessions = new Sessions(pg, new Tokens(keys, 'HS256'), keys.jwtSecret);
    const objects = { sessions, blobs, fileSizeLimit: 1e8 };
    const resumable = new Resumable(objects, () => CLOUD_URL);
    const app = new Hono();
    app.mount('/storage/v1', createStorageApp(objects, resumable).fetch);
    app.route('/rest/v1', createRest(pg));
    await pg.query('insert into storage.buckets (id, name, public) values ($1, $1, false)', [
      BUCKET,
    ]);
    const userToken = await new SignJWT({ aud: 'authenticated', role: 'authenticated', sub: OWNER })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setIssuedAt()
      .setExpirationTime('1 day')
      .sign(new TextEncoder().encode(keys.jwtSecret));
    return new Cloud({
      ...{ pg, app, userToken },
      serviceKey: keys.serviceRoleKey,
      close: async () => {
        await close();
        await rm(folder, { recursive: true });
      },
    });
  }

  /** Forgets all that earlier runs left: each begins alike, and none takes longer for them. */
  async clear(): Promise<void> {
    await this.#pg.exec(
      `truncate public.storage_archives, public.storage_check_ins, public.storage_generations,
         public.storage_manifests, public.storage_projects, storage.objects cascade`,
    );
  }

  /** Carries a request out. */
  async send(request: Request): Promise<Response> {
    const answer = await this.#app.fetch(request);
    // Whole before the next step: nothing of it goes on beside that.
    const { status, headers } = answer;
    const empty = status === 204 || status === 304;
    return new Response(empty ? null : await answer.arrayBuffer(), { status, headers });
  }

  async rows(projectId: string): Promise<Row[]> {
    const { rows } = await this.#pg.query<Row>(
      `select version, generation_id, status, digest, sha256, object_key
       from storage_generations where project_id = $1 order by version`,
      [projectId],
    );
    return rows;
  }

  /** What lies in the bucket for a project, with the MD5 of each. */
  async objects(projectId: string): Promise<{ name: string; md5: string }[]> {
    const { rows } = await this.#pg.query<{ name: string; md5: string }>(
      `select name, btrim(metadata ->> 'eTag', '"') as md5 from storage.objects
       where bucket_id = $1 and name like $2 order by name`,
      [BUCKET, `${projectId}/%`],
    );
    return rows;
  }

  /** The keys of what was deleted or replaced, and is kept. */
  async kept(projectId: string): Promise<string[]> {
    const { rows } = await this.#pg.query<{ object_key: string }>(
      `select object_key from storage_archives where project_id = $1 and state = 'kept'`,
      [projectId],
    );
    return rows.map(({ object_key }) => object_key);
  }

  /** Lets so much time pass for the database that whatever it has planned is due. */
  async passTime(projectId: string): Promise<void> {
    await this.#pg.query(
      `update storage_archives set state_at = now() - interval '1 day',
         look_again_at = case when look_again_at is null then null else now() - interval '1 hour' end
       where project_id = $1`,
      [projectId],
    );
  }
}

/** Parameters that PostgREST reads as what the function says that they are. */
const JSON_PARAMETERS = new Set(['p_items', 'p_objects']);

/** As much of PostgREST as the agent and the function call, in one query each: as the caller. */
function createRest(pg: PGlite): Hono {
  const rest = new Hono();
  const asCaller = <T>(token: string, query: (run: Query) => Promise<T>): Promise<T> => {
    const claims = decodeJwt(token.replace(/^Bearer /, ''));
    if (claims.role === 'service_role') return query((sql, values) => pg.query(sql, values));
    return pg.transaction(async (transaction) => {
      await transaction.query(
        `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`,
        [claims.role, JSON.stringify(claims)],
      );
      return query((sql, values) => transaction.query(sql, values));
    });
  };
  rest.post('/rpc/:name', async (c) => {
    const given = Object.entries((await c.req.json()) as Record<string, unknown>);
    const parameters = given.map(([name], i) => `${name} => $${i + 1}`);
    const values = given.map(([name, value]) =>
      JSON_PARAMETERS.has(name) ? JSON.stringify(value) : value,
    );
    const sql = `select to_json(public.${c.req.param('name')}(${parameters.join()})) as answer`;
    const { rows } = await asCaller(c.req.header('authorization') ?? '', (run) => run(sql, values));
    return c.json(rows[0]?.answer ?? null);
  });
  rest.get('/storage_generations', async (c) => {
    const { select = '*', order = 'version.desc', limit = '1000', ...filters } = c.req.query();
    const names = Object.keys(filters);
    const where = names.map((name, i) => `${name} = $${i + 1}`).join(' and ');
    const by = order.replace('.', ' ');
    const sql = `select ${select} from storage_generations where ${where} order by ${by} limit ${limit}`;
    const values = names.map((name) => filters[name]!.replace(/^eq\./, ''));
    const { rows } = await asCaller(c.req.header('authorization') ?? '', (run) => run(sql, values));
    return c.json(rows);
  });
  return rest;
}

type Query = (sql: string, values: unknown[]) => Promise<{ rows: Record<string, unknown>[] }>;
