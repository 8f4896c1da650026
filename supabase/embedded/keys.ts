/**
 * The keys of the embedded stack. Like those of `supabase start` they are the same on every
 * machine and no secret: the stack listens on loopback and is a development tool.
 */
import { type JSONWebKeySet, type JWK, SignJWT } from 'jose';

export const JWT_SECRET = 'super-secret-jwt-token-with-at-least-32-characters-long';
export const PUBLISHABLE_KEY = 'sb_publishable_embedded_stack_for_development';
export const SECRET_KEY = 'sb_secret_embedded_stack_for_development';

export const SIGNING_KEY: JWK = {
  kty: 'EC',
  crv: 'P-256',
  alg: 'ES256',
  use: 'sig',
  kid: '5a5b7d1e-8f0c-4b3a-9d65-embedded-01',
  x: 'ekCdTl_1WLpZ6Ra9LuICzN63umrH36sWPthnE7TxjrI',
  y: '13o2xPhj66j11IxPykZIkbOIO21YAoDkIjYCGIP-UYA',
  d: 'WPSSF8yG0wega3UgI8N2g-ip20GDpRA3GpzU-t_W2IM',
};

const { d: _, ...PUBLIC_KEY } = SIGNING_KEY;
/** What a project tells everybody of it. */
export const PUBLIC_KEYS: JSONWebKeySet = { keys: [PUBLIC_KEY] };

/** What a caller must present, as `supabase status` would print it. */
export type Keys = Readonly<{
  jwtSecret: string;
  /** The private key of the users' tokens. */
  signingKey: JWK;
  publishableKey: string;
  secretKey: string;
  /** Legacy JWT key of the role `anon`. */
  anonKey: string;
  /** Legacy JWT key of the role `service_role`. */
  serviceRoleKey: string;
}>;

export async function createKeys(): Promise<Keys> {
  return {
    jwtSecret: JWT_SECRET,
    signingKey: SIGNING_KEY,
    publishableKey: PUBLISHABLE_KEY,
    secretKey: SECRET_KEY,
    anonKey: await signKey('anon'),
    serviceRoleKey: await signKey('service_role'),
  };
}

function signKey(role: string): Promise<string> {
  return new SignJWT({ role })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer('supabase-demo')
    .setIssuedAt()
    .setExpirationTime('10 years')
    .sign(new TextEncoder().encode(JWT_SECRET));
}
