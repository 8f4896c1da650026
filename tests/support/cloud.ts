import { randomUUID } from 'node:crypto';
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { importJWK, SignJWT } from 'jose';
import { inject } from 'vitest';
import { PUBLIC_KEYS, SIGNING_KEY } from '../../supabase/embedded/keys.ts';

/** A user of the web app. */
export type TestUser = { id: string; token: string };

/** The service role on the shared stack. */
export function serviceClient(): SupabaseClient {
  const stack = inject('stack');
  return createClient(stack.SUPABASE_URL, stack.SUPABASE_SECRET_KEY, {
    auth: { persistSession: false },
  });
}

/** supabase-js as a user of the web app has it. */
export function userClient(user: TestUser): SupabaseClient {
  const stack = inject('stack');
  return createClient(stack.SUPABASE_URL, stack.SUPABASE_PUBLISHABLE_KEY, {
    accessToken: async () => user.token,
  });
}

/** A user that no other test knows, with the token that Auth would sign. */
export async function makeUser(): Promise<TestUser> {
  const id = randomUUID();
  return { id, token: await signToken({ sub: id }) };
}

/** A user token; claims that are given replace what a sound one has. A secret makes it another's. */
export async function signToken(
  claims: Record<string, unknown>,
  options: { secret?: string; expiresIn?: number } = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const iss = `${inject('stack').SUPABASE_URL}/auth/v1`;
  const jwt = new SignJWT({ iss, aud: 'authenticated', role: 'authenticated', ...claims })
    .setIssuedAt(now)
    .setExpirationTime(now + (options.expiresIn ?? 3600));
  if (options.secret !== undefined) {
    const secret = new TextEncoder().encode(options.secret);
    return jwt.setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(secret);
  }
  const header = { alg: 'ES256', typ: 'JWT', kid: SIGNING_KEY.kid! };
  return jwt.setProtectedHeader(header).sign(await importJWK(SIGNING_KEY, 'ES256'));
}

/** An id that no other test uses. */
export function uniqueId(prefix = 'p'): string {
  return `${prefix}-${randomUUID().slice(0, 13)}`;
}

/** The environment of the Edge Function on the shared stack. */
export function functionEnvironment(): Record<string, string> {
  const stack = inject('stack');
  return {
    SUPABASE_URL: stack.SUPABASE_URL,
    // Whose tokens these are, also where the project is reached through a proxy.
    PUBLIC_URL: stack.SUPABASE_URL,
    SUPABASE_ANON_KEY: stack.SUPABASE_ANON_KEY,
    SUPABASE_SERVICE_ROLE_KEY: stack.SUPABASE_SERVICE_KEY,
    SUPABASE_JWKS: JSON.stringify(PUBLIC_KEYS),
  };
}
