/** The OpenAPI document of the daemon's API. */
import type { Handler } from 'hono';
import { describeApi, type Route } from '../contract.ts';
import { OPERATIONS } from './operations.ts';
import { SCHEMAS } from './schemas.ts';

/**
 * `GET /openapi.json`
 *
 * @param routesOf the app's, asked once it has them all
 */
export function serveOpenApi(routesOf: () => readonly Route[]): Handler {
  let document: Record<string, unknown> | null = null;
  return async (c) => {
    document ??= createOpenApi(routesOf(), new URL(c.req.url).origin);
    return c.json(document);
  };
}

/** @throws Error for a route that is not described, or a description without a route */
export function createOpenApi(routes: readonly Route[], server: string): Record<string, unknown> {
  return describeApi({
    title: 'codebegen-storage, the daemon of a host',
    description: 'Without AGENT_TOKEN nothing needs a token: then it answers this host alone.',
    server,
    schemas: SCHEMAS,
    securitySchemes: {
      token: {
        type: 'http',
        scheme: 'bearer',
        description:
          'AGENT_TOKEN; of the routes of hosts AGENT_ADMIN_TOKEN, which opens the others too',
      },
      link: { type: 'apiKey', in: 'query', name: 'signature' },
    },
    errorsOf: (needs) => [
      'forbidden',
      ...(needs === 'nothing' ? [] : (['unauthenticated', 'unavailable'] as const)),
    ],
    routes,
    operations: OPERATIONS,
  });
}
