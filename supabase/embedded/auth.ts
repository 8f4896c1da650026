/** What Auth does around lite's: it signs as the project is set, and tells its keys. */
import { decodeJwt } from 'jose';
import type { Upstream } from './gateway.ts';
import { readableByLite, type Tokens } from './tokens.ts';

const JWKS = '/auth/v1/.well-known/jwks.json';
/** How long others may keep the list, as on hosted Supabase. */
const JWKS_HEADERS = { 'cache-control': 'public, max-age=600' };

/** @param origin where clients reach the project */
export function asAuth(lite: Upstream, tokens: Tokens, origin: () => string): Upstream {
  return {
    async fetch(request) {
      if (new URL(request.url).pathname === JWKS) {
        return Response.json(tokens.jwks, { headers: JWKS_HEADERS });
      }
      const response = await lite.fetch(await readableByLite(request, tokens));
      const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
      if (!isJson || !response.ok || tokens.algorithm === 'HS256') return response;
      const text = await response.text();
      const headers = new Headers(response.headers);
      headers.delete('content-length');
      const issuer = `${origin()}/auth/v1`;
      return new Response(await resigned(text, tokens, issuer), {
        status: response.status,
        headers,
      });
    },
  };
}

type Session = { access_token?: unknown };

/** Signs the token of a session anew. */
async function resigned(text: string, tokens: Tokens, iss: string): Promise<string> {
  const body = JSON.parse(text) as (Session & { session?: Session | null }) | null;
  for (const session of [body, body?.session]) {
    if (typeof session?.access_token !== 'string') continue;
    session.access_token = await tokens.sign({ ...decodeJwt(session.access_token), iss });
  }
  return JSON.stringify(body);
}
