import type { JSONWebKeySet } from 'jose';

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
}>;

/**
 * Reads the environment. The new keys (`SUPABASE_PUBLISHABLE_KEYS`, `SUPABASE_SECRET_KEYS`: JSON
 * maps) come before the legacy ones.
 *
 * @throws Error that names every variable that is missing
 */
export function readEnvironment(env: Record<string, string | undefined>): Environment {
  const supabaseUrl = env.SUPABASE_URL;
  const publishableKey = firstKey(env.SUPABASE_PUBLISHABLE_KEYS) ?? env.SUPABASE_ANON_KEY;
  const secretKey = firstKey(env.SUPABASE_SECRET_KEYS) ?? env.SUPABASE_SERVICE_ROLE_KEY;
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
    jwks: env.SUPABASE_JWKS ? (JSON.parse(env.SUPABASE_JWKS) as JSONWebKeySet) : null,
    jwtSecret: env.JWT_SECRET || null,
  };
}

function firstKey(json: string | undefined): string | undefined {
  if (!json) return undefined;
  const keys = JSON.parse(json) as Record<string, string>;
  return keys.default ?? Object.values(keys)[0];
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
