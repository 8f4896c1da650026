/** Tokens and links in the runtime of the functions. */
import { assertEquals, assertRejects } from '@std/assert';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { createArchiveLinks } from '../../../functions/_shared/archive-links.ts';
import { createAuthenticate } from '../../../functions/_shared/auth.ts';
import { StorageError } from '../../../functions/_shared/contract/errors.ts';
import { createApp } from '../../../functions/generations/app.ts';

const SUB = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
const SECRET = 'a shared secret of at least 32 characters';
const environment = {
  supabaseUrl: 'http://127.0.0.1:1',
  publicUrl: 'http://127.0.0.1:1',
  publishableKey: 'pk',
  secretKey: 'sk',
  jwks: null,
  region: null,
  cdnUrl: null,
  replicas: new Map(),
  jwtSecret: SECRET,
};

function sign(alg: string, key: CryptoKey | Uint8Array, kid?: string) {
  return new SignJWT({ role: 'authenticated' })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
    .setSubject(SUB)
    .setAudience('authenticated')
    .setIssuer(`${environment.supabaseUrl}/auth/v1`)
    .setExpirationTime('1h')
    .sign(key);
}

Deno.test('tokens of each kind of key are taken, forged ones refused', async () => {
  for (const alg of ['ES256', 'RS256', 'EdDSA']) {
    const pair = await generateKeyPair(alg, { extractable: true });
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: alg, alg };
    const authenticate = createAuthenticate({ ...environment, jwks: { keys: [jwk] } });
    const token = await sign(alg, pair.privateKey, alg);
    assertEquals((await authenticate(`Bearer ${token}`)).id, SUB);
    const other = await generateKeyPair(alg);
    const forged = await sign(alg, other.privateKey, alg);
    const error = await assertRejects(() => authenticate(`Bearer ${forged}`), StorageError);
    assertEquals(error.code, 'unauthenticated');
  }
  const shared = await sign('HS256', new TextEncoder().encode(SECRET));
  assertEquals((await createAuthenticate(environment)(`Bearer ${shared}`)).id, SUB);
});

Deno.test('a link is read again by whoever has the key, until it ends', async () => {
  const link = { sub: SUB, project: 'p', version: 1, generation: 'g' };
  const links = createArchiveLinks(environment);
  const now = Math.floor(Date.now() / 1000);
  const { sub, project, version, generation } = await links.verify(
    await links.sign(link, now + 60),
  );
  assertEquals({ sub, project, version, generation }, link);
  const late = await links.sign(link, now - 1);
  await assertRejects(() => links.verify(late), StorageError, 'expired');
  const others = createArchiveLinks({ ...environment, secretKey: 'other' });
  const token = await others.sign(link, now + 60);
  await assertRejects(() => links.verify(token), StorageError, 'not valid');
});

Deno.test('the app answers with problems that name the request', async () => {
  const app = createApp(environment);
  assertEquals((await app.request('http://x/generations/health')).status, 200);
  const answer = await app.request('http://x/generations/projects', {
    headers: { 'x-request-id': 'mine' },
  });
  assertEquals(answer.status, 401);
  const { code, request_id } = await answer.json();
  assertEquals([code, request_id], ['unauthenticated', 'mine']);
});
