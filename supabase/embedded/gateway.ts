import { Hono, type MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import type { Keys } from './keys.ts';

/** What answers behind a path. */
export type Upstream = { fetch(request: Request): Response | Promise<Response> };

type Upstreams = {
  keys: Keys;
  auth: Upstream;
  rest: Upstream;
  storage: Upstream;
  /** Where the functions listen; `null` until they do. */
  functionsOrigin: () => string | null;
};

/** The one door of the stack: the paths of a Supabase project, and its API keys. */
export function createGateway(upstreams: Upstreams): Hono {
  const { keys, auth, rest, storage, functionsOrigin } = upstreams;
  const app = new Hono();
  const answerCors = cors({
    origin: '*',
    exposeHeaders: [
      'content-range',
      'location',
      'tus-resumable',
      'upload-offset',
      'upload-length',
      'etag',
    ],
    maxAge: 3600,
  });
  // An OPTIONS that is no preflight is TUS asking what the server can do.
  const open: MiddlewareHandler = (c, next) =>
    c.req.method === 'OPTIONS' && !c.req.header('access-control-request-method')
      ? next()
      : answerCors(c, next);

  app.use('/auth/v1/*', open);
  app.use('/rest/v1/*', open);
  app.use('/storage/v1/*', open);

  app.all('/auth/v1/*', (c) => auth.fetch(c.req.raw));
  app.all('/rest/v1/*', (c) => rest.fetch(c.req.raw));
  app.all('/storage/v1/*', (c) => {
    const request = withoutPrefix(c.req.raw, '/storage/v1');
    return storage.fetch(withRoleToken(request, keys));
  });
  app.all('/functions/v1/*', async (c) => {
    const origin = functionsOrigin();
    if (origin === null) return c.json({ message: 'The functions are not up yet' }, 503);
    return forward(c.req.raw, origin, '/functions/v1');
  });
  app.get('/', (c) => c.json({ message: 'codebegen-storage embedded stack' }));
  return app;
}

function withoutPrefix(request: Request, prefix: string): Request {
  const url = new URL(request.url);
  url.pathname = url.pathname.slice(prefix.length);
  const body = request.body === null ? {} : { body: request.body, duplex: 'half' };
  return new Request(url, {
    method: request.method,
    headers: request.headers,
    signal: request.signal,
    ...body,
  } as RequestInit);
}

/**
 * Who has no token is who the key says. New keys are no JWTs: the gateway puts a token of their role
 * in their place.
 */
export function withRoleToken(request: Request, keys: Keys): Request {
  const key = request.headers.get('apikey');
  const authorization = request.headers.get('authorization');
  if (key === null || (authorization !== null && authorization !== `Bearer ${key}`)) return request;
  const tokens = new Map([
    [keys.secretKey, keys.serviceRoleKey],
    [keys.publishableKey, keys.anonKey],
  ]);
  request.headers.set('authorization', `Bearer ${tokens.get(key) ?? key}`);
  return request;
}

/** Sends a request on to another server, its path without the prefix. */
export async function forward(request: Request, origin: string, prefix: string): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  for (const name of ['host', 'connection', 'content-length', 'transfer-encoding']) {
    headers.delete(name);
  }
  // Else fetch would unpack the answer and keep the header that says it is packed.
  headers.set('accept-encoding', 'identity');
  const body = request.body === null ? {} : { body: request.body, duplex: 'half' };
  const send = () =>
    fetch(`${origin}${pathname.slice(prefix.length)}${search}`, {
      method: request.method,
      headers,
      redirect: 'manual',
      signal: request.signal,
      ...body,
    } as RequestInit);
  try {
    return await send();
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as { code?: string };
    // The connection was kept from a request whose body nobody read to its end: it is closed since.
    // As gateways do, what can be sent again is.
    if (code !== 'UND_ERR_SOCKET' || request.body !== null) throw error;
    return send();
  }
}
