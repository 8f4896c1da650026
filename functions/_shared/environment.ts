import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { type Replicas, readReplicas } from './replicas.ts';

/** What a function is told by the platform and by its secrets. */
export type Environment = Readonly<{
  /** Where the function reaches the project. */
  supabaseUrl: string;
  /** Where users reach the project: signed URLs are made to begin with it. */
  publicUrl: string;
  /** The key that says nothing of the user: `apikey` of every request. */
  publishableKey: string;
  /** The key of the service role. */
  secretKey: string;
  /** Keys of user tokens that the platform handed over; the project's JWKS has the rest. */
  jwks: JSONWebKeySet | null;
  /** Where user tokens are still signed with a shared secret (HS256). */
  jwtSecret: string | null;
  /** Where this function runs, by the platform's name. */
  region: string | null;
  /** What stands before the path of signed URLs in the place of {@link publicUrl}: a cache. */
  cdnUrl: string | null;
  replicas: Replicas;
}>;

/**
 * Reads the environment. The new keys (`SUPABASE_PUBLISHABLE_KEYS`, `SUPABASE_SECRET_KEYS`: JSON
 * maps) come before the legacy ones.
 *
 * @throws Error that names every variable that is missing, or cannot be used
 */
export function readEnvironment(env: Record<string, string | undefined>): Environment {
  const supabaseUrl = env.SUPABASE_URL;
  const publishableKey = firstKey(env, 'SUPABASE_PUBLISHABLE_KEYS') ?? env.SUPABASE_ANON_KEY;
  const secretKey = firstKey(env, 'SUPABASE_SECRET_KEYS') ?? env.SUPABASE_SERVICE_ROLE_KEY;
  if (!supabaseUrl || !publishableKey || !secretKey) {
    const missing = [
      supabaseUrl ? '' : 'SUPABASE_URL',
      publishableKey ? '' : 'SUPABASE_PUBLISHABLE_KEYS',
      secretKey ? '' : 'SUPABASE_SECRET_KEYS',
    ];
    throw new Error(`Cannot start: ${missing.filter(Boolean).join(', ')} is not set`);
  }
  return {
    supabaseUrl: withoutSlash(supabaseUrl),
    publicUrl: withoutSlash(env.PUBLIC_URL || supabaseUrl),
    publishableKey,
    secretKey,
    jwks: readKeySet(env.SUPABASE_JWKS),
    jwtSecret: env.JWT_SECRET || null,
    region: env.SB_REGION || null,
    cdnUrl: env.CDN_URL ? withoutSlash(env.CDN_URL) : null,
    replicas: readReplicas(env.REPLICAS),
  };
}

/** Without them users are known all the same: the project has the list. */
function readKeySet(json: string | undefined): JSONWebKeySet | null {
  if (!json) return null;
  try {
    const keys = JSON.parse(json) as JSONWebKeySet;
    createLocalJWKSet(keys);
    return keys;
  } catch {
    console.error('SUPABASE_JWKS is no JSON Web Key Set: the list of the project is used instead');
    return null;
  }
}

function firstKey(env: Record<string, string | undefined>, name: string): string | undefined {
  const json = env[name];
  if (!json) return undefined;
  let keys: unknown;
  try {
    keys = JSON.parse(json);
  } catch {
    throw new Error(`Cannot start: ${name} is no JSON`);
  }
  if (keys === null || typeof keys !== 'object') throw new Error(`Cannot start: ${name} is no map`);
  const named = keys as Record<string, string>;
  return named.default ?? Object.values(named)[0];
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

/** A signed URL, by the cache where there is one. */
export function toCdn(url: string, environment: Environment): string {
  const known = toPublic(url, environment);
  const { cdnUrl, publicUrl } = environment;
  if (cdnUrl === null || !known.startsWith(`${publicUrl}/storage/`)) return known;
  return cdnUrl + known.slice(publicUrl.length);
}

/** The function may know the project under an inner name that users cannot reach. */
export function toPublic(url: string, environment: Environment): string {
  return url.startsWith(environment.supabaseUrl)
    ? environment.publicUrl + url.slice(environment.supabaseUrl.length)
    : url;
}
