import type { Transaction } from '@electric-sql/pglite';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { Tokens } from '../tokens.ts';
import { problems } from './errors.ts';

/** The database: PGlite, or what runs transactions like it. Its role may become any other. */
export type Transactions = {
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
};

/** Who asks: the claims of a verified token. */
export type Caller = Readonly<{ role: string; sub: string | null; claims: JWTPayload }>;

/** What acts for the server itself, past row level security. */
export type Run = <T>(transaction: Transaction) => Promise<T>;

const ROLES = new Set(['anon', 'authenticated', 'service_role']);

/** Tokens and the database, as one caller sees them. */
export class Sessions {
  readonly #pg: Transactions;
  readonly #tokens: Tokens;
  readonly #secret: Uint8Array;

  /** @param urlSecret what signed URLs are signed with */
  constructor(pg: Transactions, tokens: Tokens, urlSecret: string) {
    this.#pg = pg;
    this.#tokens = tokens;
    this.#secret = new TextEncoder().encode(urlSecret);
  }

  /** Reads the `Authorization` header. The messages are those of the real server, from jose. */
  async authenticate(header: string | undefined): Promise<Caller> {
    if (header === undefined) {
      throw problems.invalidRequest("headers must have required property 'authorization'");
    }
    const token = header.replace(/^Bearer\s+/i, '');
    let claims: JWTPayload;
    try {
      claims = await this.#tokens.verify(token);
    } catch (error) {
      throw problems.accessDenied(error instanceof errors.JOSEError ? error.message : undefined);
    }
    const role = typeof claims.role === 'string' ? claims.role : 'anon';
    return { role, sub: claims.sub ?? null, claims };
  }

  /** The caller of a route that serves anybody; `null` where no good token says who it is. */
  async recognize(header: string | undefined): Promise<Caller | null> {
    return this.authenticate(header).catch(() => null);
  }

  /** Runs statements as the caller, so that row level security decides. */
  as<T>(caller: Caller, run: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#pg.transaction(async (transaction) => {
      await checkRole(transaction, caller.role);
      await transaction.query(
        `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),
          set_config('request.jwt.claim.sub', $3, true)`,
        [caller.role, JSON.stringify(caller.claims), caller.sub ?? ''],
      );
      return run(transaction);
    });
  }

  /** Runs statements as the server itself. */
  asServer<T>(run: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#pg.transaction(run);
  }

  sign(claims: JWTPayload, expiresIn: number): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuedAt(now)
      .setExpirationTime(now + expiresIn)
      .sign(this.#secret);
  }

  /** Reads the token of a signed URL. */
  async verifySigned(token: string | undefined, key: string): Promise<JWTPayload> {
    if (token === undefined) {
      throw problems.invalidRequest("querystring must have required property 'token'");
    }
    let claims: JWTPayload;
    try {
      claims = (await jwtVerify(token, this.#secret, { algorithms: ['HS256'] })).payload;
    } catch (error) {
      throw problems.invalidJwt(error instanceof Error ? error.message : 'invalid token');
    }
    if (claims.url !== key) throw problems.invalidSignature();
    return claims;
  }
}

/** The role that the real server has may become these alone; PGlite's may become any. */
async function checkRole(transaction: Transaction, role: string): Promise<void> {
  if (ROLES.has(role)) return;
  const found = await transaction.query('select from pg_roles where rolname = $1', [role]);
  if (found.rows.length === 0) throw problems.database('22023');
  throw problems.accessDenied(`permission denied to set role "${role}"`);
}
