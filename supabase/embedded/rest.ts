/** What PostgREST does around lite's REST: it looks at the token before all else, and says so. */
import { errors } from 'jose';
import type { Upstream } from './gateway.ts';
import type { Keys } from './keys.ts';
import { bearerOf, readableByLite, type Tokens } from './tokens.ts';

/** Seconds that a token may be over: PostgREST allows for clocks that differ. */
const CLOCK_TOLERANCE = 30;

/** Serves REST as PostgREST 12 would, of what lite answers. */
export function asPostgrest(lite: Upstream, keys: Keys, tokens: Tokens): Upstream {
  const fetch = async (request: Request) => {
    const token = bearerOf(request);
    const isKey = token === keys.secretKey || token === keys.publishableKey;
    const problem = token === null || isKey ? null : await problemOf(token, tokens);
    if (problem !== null) return refuse(problem);
    const response = await lite.fetch(await readableByLite(request, tokens));
    const headers = new Headers(response.headers);
    if (response.ok) headers.set('content-profile', 'public');
    if (response.status === 401) headers.set('www-authenticate', 'Bearer');
    return new Response(response.body, { status: response.status, headers });
  };
  return { fetch };
}

/** What is wrong with a token, in PostgREST's words; `null` where nothing is. */
async function problemOf(token: string, tokens: Tokens): Promise<string | null> {
  const parts = token.split('.').length;
  if (parts !== 3) {
    return `JWSError (CompactDecodeError Invalid number of parts: Expected 3 parts; got ${parts})`;
  }
  try {
    await tokens.verify(token, { clockTolerance: CLOCK_TOLERANCE });
    return null;
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
