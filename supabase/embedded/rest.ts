/** What PostgREST does around lite's REST: it looks at the token before all else, and says so. */
import { errors, type JWTPayload } from 'jose';
import type { Upstream } from './gateway.ts';
import type { Keys } from './keys.ts';
import { bearerOf, type Tokens, withBearer } from './tokens.ts';

/** Seconds that a token may be over: PostgREST allows for clocks that differ. */
const CLOCK_TOLERANCE = 30;

/** Serves REST as PostgREST 12 would, of what lite answers. */
export function asPostgrest(lite: Upstream, keys: Keys, tokens: Tokens): Upstream {
  const fetch = async (request: Request) => {
    const token = bearerOf(request);
    const isKey = token === keys.secretKey || token === keys.publishableKey;
    const read = token === null || isKey ? null : await readToken(token, tokens);
    if (typeof read === 'string') return refuse(read);
    const readable = read === null ? request : withBearer(request, await tokens.forLite(read));
    const response = await lite.fetch(readable);
    const headers = new Headers(response.headers);
    if (response.ok) headers.set('content-profile', 'public');
    if (response.status === 401) headers.set('www-authenticate', 'Bearer');
    return new Response(response.body, { status: response.status, headers });
  };
  return { fetch };
}

/** @returns what lite is told of it; what is wrong with it, in PostgREST's words */
async function readToken(token: string, tokens: Tokens): Promise<JWTPayload | string> {
  const parts = token.split('.').length;
  if (parts !== 3) {
    return `JWSError (CompactDecodeError Invalid number of parts: Expected 3 parts; got ${parts})`;
  }
  try {
    const { exp, ...claims } = await tokens.verify(token, { clockTolerance: CLOCK_TOLERANCE });
    // Lite makes no allowance.
    const end = Math.floor(Date.now() / 1000) + CLOCK_TOLERANCE;
    return exp === undefined ? claims : { ...claims, exp: Math.max(exp, end) };
  } catch (error) {
    return error instanceof errors.JWTExpired ? 'JWT expired' : 'JWSError JWSInvalidSignature';
  }
}

function refuse(message: string): Response {
  const body = { code: 'PGRST301', details: null, hint: null, message };
  return Response.json(body, {
    status: 401,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'www-authenticate': `Bearer error="invalid_token", error_description="${message}"`,
    },
  });
}
