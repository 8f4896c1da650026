import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Authenticate, createAuthenticate } from '../../functions/_shared/auth.ts';
import type { Environment } from '../../functions/_shared/environment.ts';

const SECRET = 'a shared secret of at least 32 characters';
const SUB = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
const SOUND = { sub: SUB, role: 'authenticated', aud: 'authenticated' };

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

let jwks: { keys: JWK[] } = { keys: [] };
let asked = 0;
let issuer: string;
let ec: KeyPair;
let environment: Environment;
const server = createServer((_, response) => {
  asked++;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(jwks));
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const supabaseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  issuer = `${supabaseUrl}/auth/v1`;
  ec = await generateKeyPair('ES256', { extractable: true });
  jwks = { keys: [{ ...(await exportJWK(ec.publicKey)), kid: 'one', alg: 'ES256' }] };
  environment = {
    supabaseUrl,
    publicUrl: 'https://public.example',
    publishableKey: 'pk',
    secretKey: 'sk',
    jwks: null,
    jwtSecret: SECRET,
  };
});
afterAll(() => void server.close());

describe('a token is taken', () => {
  test('signed with HS256 where a secret is configured, with or without an issuer', async () => {
    expect(await check(await hs256(SOUND))).toMatchObject({ id: SUB });
    expect(await check(await hs256({ ...SOUND, iss: issuer }))).toMatchObject({ id: SUB });
  });

  test('signed with a key of the JWKS, which is asked for once', async () => {
    const authenticate = createAuthenticate(environment);
    asked = 0;
    for (let i = 0; i < 5; i++) {
      const token = await es256({ ...SOUND, iss: issuer });
      expect(await authenticate(`Bearer ${token}`)).toMatchObject({ id: SUB });
    }
    expect(asked).toBe(1);
  });

  test('of the public issuer too', async () => {
    const token = await es256({ ...SOUND, iss: 'https://public.example/auth/v1' });
    expect(await check(token)).toMatchObject({ id: SUB });
  });

  test('signed with a key that came later, while the old one still counts', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const authenticate = createAuthenticate(environment);
    const old = await es256({ ...SOUND, iss: issuer });
    expect(await authenticate(`Bearer ${old}`)).toMatchObject({ id: SUB });
    const pair = await generateKeyPair('RS256', { extractable: true });
    const before = jwks;
    onTestFinished(() => {
      jwks = before;
    });
    jwks = {
      keys: [...jwks.keys, { ...(await exportJWK(pair.publicKey)), kid: 'new', alg: 'RS256' }],
    };
    asked = 0;
    const rotated = await es256({ ...SOUND, iss: issuer }, pair, 'new', 'RS256');
    // Unknown keys make nobody ask all the time: the list is asked for again after half a minute.
    await expect(authenticate(`Bearer ${rotated}`)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    expect(asked).toBe(0);
    vi.setSystemTime(Date.now() + 31_000);
    expect(await authenticate(`Bearer ${rotated}`)).toMatchObject({ id: SUB });
    expect(await authenticate(`Bearer ${old}`)).toMatchObject({ id: SUB });
    expect(asked).toBe(1);
  });

  test('signed with a key that the platform handed over, and with one that came later', async () => {
    const handedOver = await generateKeyPair('ES256', { extractable: true });
    const jwk = { ...(await exportJWK(handedOver.publicKey)), kid: 'zero', alg: 'ES256' };
    const authenticate = createAuthenticate({ ...environment, jwks: { keys: [jwk] } });
    asked = 0;
    const old = await es256({ ...SOUND, iss: issuer }, handedOver, 'zero');
    expect(await authenticate(`Bearer ${old}`)).toMatchObject({ id: SUB });
    expect(asked).toBe(0);
    const rotated = await es256({ ...SOUND, iss: issuer });
    expect(await authenticate(`Bearer ${rotated}`)).toMatchObject({ id: SUB });
    expect(asked).toBe(1);
  });
});

describe('a token is refused', () => {
  test.each<[string, () => Promise<string> | string]>([
    ['no token', () => ''],
    ['garbage', () => 'garbage'],
    ['three parts of garbage', () => 'a.b.c'],
    ['expired', () => hs256(SOUND, { expiresIn: -60 })],
    ['signed with another secret', () => hs256(SOUND, { secret: `${SECRET}x` })],
    ['alg none', () => new UnsecuredJWT({ ...SOUND }).setExpirationTime('1h').encode()],
    ['without sub', () => hs256({ role: 'authenticated', aud: 'authenticated' })],
    ['with a sub that is no user', () => hs256({ ...SOUND, sub: 'service' })],
    ['without exp', () => hs256(SOUND, { expiresIn: null })],
    ['for another audience', () => hs256({ ...SOUND, aud: 'other' })],
    ['of another issuer', () => hs256({ ...SOUND, iss: 'https://evil.example/auth/v1' })],
    ['of another issuer, asymmetric', () => es256({ ...SOUND, iss: 'https://evil.example' })],
    ['asymmetric without issuer', () => es256(SOUND)],
    ['of the role anon', () => hs256({ ...SOUND, role: 'anon' })],
    ['of the service role', () => hs256({ role: 'service_role', iss: 'supabase' })],
    ['of the service role with a sub', () => hs256({ ...SOUND, role: 'service_role' })],
    ['an API key', () => 'sb_secret_x'],
    [
      'signed with an unknown key',
      async () => {
        const other = await generateKeyPair('ES256');
        return es256({ ...SOUND, iss: issuer }, other, 'two');
      },
    ],
    // The public key, which everybody has, used as if it were the shared secret.
    [
      'HS256 by the public key',
      async () => {
        const pem = await exportSPKI(ec.publicKey);
        return hs256({ ...SOUND, iss: issuer }, { secret: pem });
      },
    ],
  ])('%s', async (_, make) => {
    await expect(check(await make())).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  test('signed with HS256 where no secret is configured', async () => {
    const authenticate = createAuthenticate({ ...environment, jwtSecret: null });
    await expect(authenticate(`Bearer ${await hs256(SOUND)}`)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
  });

  test('as unavailable, not as wrong, where the keys are out of reach', async () => {
    const authenticate = createAuthenticate({ ...environment, supabaseUrl: 'http://127.0.0.1:1' });
    const token = await es256({ ...SOUND, iss: 'http://127.0.0.1:1/auth/v1' });
    await expect(authenticate(`Bearer ${token}`)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

function check(token: string): ReturnType<Authenticate> {
  return createAuthenticate(environment)(token === '' ? undefined : `Bearer ${token}`);
}

function hs256(
  claims: Record<string, unknown>,
  options: { secret?: string; expiresIn?: number | null } = {},
): Promise<string> {
  const jwt = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setIssuedAt();
  const { expiresIn = 3600 } = options;
  if (expiresIn !== null) jwt.setExpirationTime(Math.floor(Date.now() / 1000) + expiresIn);
  return jwt.sign(new TextEncoder().encode(options.secret ?? SECRET));
}

function es256(
  claims: Record<string, unknown>,
  pair: KeyPair = ec,
  kid = 'one',
  alg = 'ES256',
): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg, kid })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(pair.privateKey);
}
