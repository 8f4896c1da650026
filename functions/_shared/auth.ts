import {
  createLocalJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { StorageError } from './contract/errors.ts';
import type { Environment } from './environment.ts';
import { KeyList } from './key-list.ts';

/** A user whose token was verified. */
export type User = Readonly<{ id: string; token: string }>;

/** Finds out whose request it is from its `Authorization` header. */
export type Authenticate = (authorization: string | undefined) => Promise<User>;

const ASYMMETRIC = ['ES256', 'RS256', 'EdDSA'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Makes the check of user tokens: signed by the project (asymmetric keys by JWKS, HS256 where a
 * secret is configured), for `authenticated`, not expired, of a user. An API key is no user.
 */
export function createAuthenticate(environment: Environment): Authenticate {
  const findKey = createFindKey(environment);
  const secret =
    environment.jwtSecret === null ? null : new TextEncoder().encode(environment.jwtSecret);
  const issuers = [environment.supabaseUrl, environment.publicUrl].map((url) => `${url}/auth/v1`);

  async function verify(token: string): Promise<JWTPayload> {
    const audience = 'authenticated';
    const requiredClaims = ['sub', 'exp'];
    // The header only chooses which kind of key is tried; each kind takes its own algorithms, so
    // that a public key is never used as a shared secret.
    if (readAlgorithm(token) === 'HS256') {
      if (secret === null) throw unauthenticated('tokens signed with HS256 are not accepted here');
      const options = { algorithms: ['HS256'], audience, requiredClaims };
      return (await jwtVerify(token, secret, options)).payload;
    }
    const options = { algorithms: ASYMMETRIC, audience, requiredClaims, issuer: issuers };
    return (await jwtVerify(token, findKey, options)).payload;
  }

  return async function authenticate(authorization) {
    const token = /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) throw unauthenticated('there is no bearer token');
    const claims = await verify(token).catch((error: unknown) => {
      throw explain(error);
    });
    if (claims.iss !== undefined && !issuers.includes(claims.iss)) {
      throw unauthenticated('the token is of another issuer');
    }
    if (claims.role !== 'authenticated' || !UUID.test(claims.sub ?? '')) {
      throw unauthenticated('the token is not of a user');
    }
    return { id: claims.sub!, token };
  };
}

/** Keys that the platform handed over, else the project's own list, which knows rotated ones. */
function createFindKey(environment: Environment): JWTVerifyGetKey {
  const list = new KeyList(`${environment.supabaseUrl}/auth/v1/.well-known/jwks.json`);
  if (environment.jwks === null) return list.find;
  const local = createLocalJWKSet(environment.jwks);
  return async (header, token) => {
    try {
      return await local(header, token);
    } catch {
      // It is not there, or is none that can be used.
      return list.find(header, token);
    }
  };
}

function readAlgorithm(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).alg;
  } catch (error) {
    throw unauthenticated('the token is not valid here', error);
  }
}

function explain(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  if (error instanceof errors.JWTExpired) return unauthenticated('the token has expired', error);
  if (error instanceof errors.JOSEError) {
    return unauthenticated('the token is not valid here', error);
  }
  // The list cannot be had, or a key in it is none: that says nothing of the token.
  return new StorageError('unavailable', 'Cannot check the token: the keys are out of reach', {
    cause: error,
  });
}

function unauthenticated(state: string, cause?: unknown): StorageError {
  return new StorageError('unauthenticated', `Cannot tell who you are: ${state}`, { cause });
}
