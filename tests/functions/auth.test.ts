import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Authenticate, createAuthenticate } from '../../functions/_shared/auth.ts';
import { type Environment, readEnvironment } from '../../functions/_shared/environment.ts';

const SECRET = 'a shared secret of at least 32 characters';
const SUB = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
const SOUND = { sub: SUB, role: 'authenticated', aud: 'authenticated' };

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

let jwks: { keys: JWK[] } = { keys: [] };
let asked = 0;
let failing: number | null = null;
let endless = false;
/** Bytes of a list without end that were taken. */
let taken = 0;
let issuer: string;
let ec: KeyPair;
let environment: Environment;
const server = createServer((_, response) => {
  asked++;
  response.statusCode = failing ?? 200;
  response.setHeader('content-type', 'application/json');
  if (failing !== null) response.end('{"message": "busy"}');
  else if (endless) sendWithoutEnd(response);
  else response.end(JSON.stringify(jwks));
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
    ...{ region: null, cdnUrl: null, replicas: new Map() },
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

  test('signed with a key that came a moment ago, while the old one still counts', async () => {
    const authenticate = createAuthenticate(environment);
    const old = await es256({ ...SOUND, iss: issuer });
    expect(await authenticate(`Bearer ${old}`)).toMatchObject({ id: SUB });
    const rotated = await rotate('new');
    asked = 0;
    expect(await authenticate(`Bearer ${rotated}`)).toMatchObject({ id: SUB });
    expect(await authenticate(`Bearer ${old}`)).toMatchObject({ id: SUB });
    expect(asked).toBe(1);
  });

  test('while the list cannot be had, by a key that was in it', async () => {
    const authenticate = createAuthenticate(environment);
    const token = await es256({ ...SOUND, iss: issuer });
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    await authenticate(`Bearer ${token}`);
    failWith(500);
    asked = 0;
    // Its time is over: it is asked for again, and once only for a while.
    vi.advanceTimersByTime(3_600_000);
    for (let i = 0; i < 5; i++) {
      expect(await authenticate(`Bearer ${token}`)).toMatchObject({ id: SUB });
    }
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
    ['with more than a user as its sub', () => hs256({ ...SOUND, sub: `${SUB}0` })],
    ['with something before the user', () => hs256({ ...SOUND, sub: `x${SUB}` })],
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

  test.each<[string, (token: string) => string | undefined, string]>([
    ['there is none', () => undefined, 'there is no bearer token'],
    ['there is but its kind', () => 'Bearer ', 'there is no bearer token'],
    ['it is of another kind', (token) => `Basic ${token}`, 'there is no bearer token'],
    ['something stands before it', (token) => `x Bearer ${token}`, 'there is no bearer token'],
    ['something stands behind it', (token) => `Bearer ${token} x`, 'there is no bearer token'],
  ])('where %s', async (_, header, why) => {
    const asking = createAuthenticate(environment)(header(await hs256(SOUND)));
    await expect(asking).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining(why),
    });
  });

  test.each<[string, () => Promise<string> | string]>([
    ['the token has expired', () => hs256(SOUND, { expiresIn: -60 })],
    ['the token is of another issuer', () => hs256({ ...SOUND, iss: 'https://evil.example' })],
    ['the token is not of a user', () => hs256({ ...SOUND, role: 'anon' })],
    ['the token is not valid here', () => 'a.b.c'],
  ])('with the reason: %s', async (why, make) => {
    await expect(check(await make())).rejects.toThrow(why);
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

describe('tokens that name keys of their own making', () => {
  const many = async () => {
    const pair = await generateKeyPair('ES256');
    return Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        es256({ ...SOUND, iss: issuer }, pair, `random-${i}-${Math.random()}`),
      ),
    );
  };
  const codes = async (authenticate: Authenticate, tokens: readonly string[]) =>
    new Set(
      await Promise.all(
        tokens.map((token) =>
          authenticate(`Bearer ${token}`).then(
            () => 'taken',
            (error: { code: string }) => error.code,
          ),
        ),
      ),
    );

  test('have the list fetched once in half a minute, and it is no word on keys that come after', async () => {
    const authenticate = createAuthenticate(environment);
    const sound = await es256({ ...SOUND, iss: issuer });
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    await authenticate(`Bearer ${sound}`);
    asked = 0;
    const tokens = await many();
    expect(await codes(authenticate, tokens.slice(0, 100))).toEqual(new Set(['unauthenticated']));
    for (const token of tokens.slice(100)) await codes(authenticate, [token]);
    expect(asked).toBe(1);
    vi.advanceTimersByTime(29_000);
    await codes(authenticate, tokens);
    expect(asked).toBe(1);
    expect(await authenticate(`Bearer ${sound}`)).toMatchObject({ id: SUB });
    const rotated = await rotate('after');
    vi.advanceTimersByTime(2000);
    expect(await authenticate(`Bearer ${rotated}`)).toMatchObject({ id: SUB });
    expect(asked).toBe(2);
  });

  test.each([500, 429, 302])(
    'the same while the list answers %i: then nobody knows',
    async (status) => {
      const authenticate = createAuthenticate(environment);
      vi.useFakeTimers({ toFake: ['performance'] });
      onTestFinished(() => void vi.useRealTimers());
      const isBack = failWith(status);
      asked = 0;
      expect(await codes(authenticate, await many())).toEqual(new Set(['unavailable']));
      expect(await codes(authenticate, await many())).toEqual(new Set(['unavailable']));
      expect(asked).toBe(1);
      isBack();
      vi.advanceTimersByTime(31_000);
      const sound = await es256({ ...SOUND, iss: issuer });
      expect(await authenticate(`Bearer ${sound}`)).toMatchObject({ id: SUB });
      expect(asked).toBe(2);
    },
  );

  test('a list without end is not read to its end', async () => {
    const sound = await es256({ ...SOUND, iss: issuer });
    endless = true;
    onTestFinished(() => {
      endless = false;
    });
    await expect(check(sound)).rejects.toMatchObject({ code: 'unavailable' });
    // What is under way between the two is more than is looked at.
    expect(taken).toBeLessThan(64 * 1024 * 1024);
  });

  test('a list that is none, or is too long, is a list that cannot be had', async () => {
    const sound = await es256({ ...SOUND, iss: issuer });
    const before = jwks;
    onTestFinished(() => {
      jwks = before;
    });
    for (const list of [null, [], {}, { keys: 'x' }, { keys: [], more: 'x'.repeat(300_000) }]) {
      jwks = list as unknown as typeof jwks;
      await expect(check(sound), JSON.stringify(list).slice(0, 50)).rejects.toMatchObject({
        code: 'unavailable',
      });
    }
  });
});

test.each(['{', '[]', 'null', '"x"', '{"keys": 7}', '{"keys": ["x"]}'])(
  'SUPABASE_JWKS that is %s is named, and the function starts with the list of the project',
  async (json) => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    onTestFinished(() => log.mockRestore());
    const read = readEnvironment({
      SUPABASE_URL: environment.supabaseUrl,
      SUPABASE_PUBLISHABLE_KEYS: '{"default":"pk"}',
      SUPABASE_SECRET_KEYS: '{"default":"sk"}',
      SUPABASE_JWKS: json,
    });
    expect(log).toHaveBeenCalledWith(expect.stringContaining('SUPABASE_JWKS'));
    const sound = await es256({ ...SOUND, iss: issuer });
    expect(await createAuthenticate(read)(`Bearer ${sound}`)).toMatchObject({ id: SUB });
  },
);

test.each(['SUPABASE_SECRET_KEYS', 'SUPABASE_PUBLISHABLE_KEYS'])(
  '%s that is no JSON is named, and not shown',
  (name) => {
    const env = { SUPABASE_URL: 'http://x', SUPABASE_ANON_KEY: 'a', [name]: 'sb_secret_x' };
    expect(() => readEnvironment(env)).toThrow(`${name} is no JSON`);
    expect(() => readEnvironment(env)).not.toThrow('sb_secret_x');
  },
);

/** Until whoever asked hangs up. */
function sendWithoutEnd(response: ServerResponse): void {
  const piece = ' '.repeat(64 * 1024);
  const send = () => {
    while (!response.destroyed) {
      taken += piece.length;
      if (!response.write(piece)) return;
    }
  };
  response.on('drain', send);
  send();
}

/** Has the list answer something else until it is called. */
function failWith(status: number): () => void {
  failing = status;
  const heal = () => {
    failing = null;
  };
  onTestFinished(heal);
  return heal;
}

/** Adds a key to the list. @returns a token that it signed */
async function rotate(kid: string): Promise<string> {
  const pair = await generateKeyPair('RS256', { extractable: true });
  const before = jwks;
  onTestFinished(() => {
    jwks = before;
  });
  jwks = { keys: [...jwks.keys, { ...(await exportJWK(pair.publicKey)), kid, alg: 'RS256' }] };
  return es256({ ...SOUND, iss: issuer }, pair, kid, 'RS256');
}

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
