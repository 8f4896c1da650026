/** Tokens of users, as a project signs and checks them. */
import { importJWK, type JSONWebKeySet, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { type Keys, PUBLIC_KEYS } from './keys.ts';

/** How a project signs its users' tokens: new ones with a key pair, older ones with a shared secret. */
export type TokenAlgorithm = 'ES256' | 'HS256';

export class Tokens {
  readonly algorithm: TokenAlgorithm;
  readonly #keys: Keys;
  readonly #secret: Uint8Array;

  constructor(keys: Keys, algorithm: TokenAlgorithm) {
    this.algorithm = algorithm;
    this.#keys = keys;
    this.#secret = new TextEncoder().encode(keys.jwtSecret);
  }

  /** What the project tells everybody: the keys that tokens may be signed with. */
  get jwks(): JSONWebKeySet {
    return this.algorithm === 'HS256' ? { keys: [] } : PUBLIC_KEYS;
  }

  /**
   * Reads a token. One of the shared secret counts all the same: the legacy API keys are such tokens.
   *
   * @param options.clockTolerance seconds
   * @throws JOSEError
   */
  async verify(token: string, options: { clockTolerance?: number } = {}): Promise<JWTPayload> {
    const find = async ({ alg }: { alg?: string }) =>
      alg === 'ES256' && this.algorithm === 'ES256'
        ? importJWK(this.jwks.keys[0]!, 'ES256')
        : this.#secret;
    const algorithms = this.algorithm === 'ES256' ? ['ES256', 'HS256'] : ['HS256'];
    return (await jwtVerify(token, find, { algorithms, ...options })).payload;
  }

  /** Signs what Auth gives to a user. */
  async sign(claims: JWTPayload): Promise<string> {
    if (this.algorithm === 'HS256') return this.forLite(claims);
    const { signingKey } = this.#keys;
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: signingKey.kid!, typ: 'JWT' })
      .sign(await importJWK(signingKey, 'ES256'));
  }

  /** The same claims in a token for lite, which knows the shared secret alone. */
  forLite(claims: JWTPayload): Promise<string> {
    return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(this.#secret);
  }
}

/** A request whose token lite can read. What is no token stays what it is. */
export async function readableByLite(request: Request, tokens: Tokens): Promise<Request> {
  const token = bearerOf(request);
  if (token === null) return request;
  try {
    return withBearer(request, await tokens.forLite(await tokens.verify(token)));
  } catch {
    return request;
  }
}

/** The same request with another bearer token. */
export function withBearer(request: Request, token: string): Request {
  const headers = new Headers(request.headers);
  headers.set('authorization', `Bearer ${token}`);
  return new Request(request, { headers, duplex: 'half' } as RequestInit);
}

/** The bearer token of a request; `null` where it has none. */
export function bearerOf(request: Request): string | null {
  return /^Bearer\s+(.*)$/i.exec(request.headers.get('authorization') ?? '')?.[1] ?? null;
}
