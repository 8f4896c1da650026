import { Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Storage } from '../agent.ts';
import { StorageError, toProblem } from '../contract.ts';
import { serveArchive } from './archive.ts';

/** The daemon's HTTP API: its URL table. */
export function createApp(parts: { storage: Storage; onProblem: (error: unknown) => void }): Hono {
  const app = new Hono();
  app.get('/v1/projects/:project/:version/archive.tar.gz', serveArchive(parts.storage));
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.notFound((c) => {
    throw new StorageError('not_found', `Cannot find ${c.req.method} ${c.req.path}`);
  });
  app.onError((error, c) => {
    if (!(error instanceof StorageError)) parts.onProblem(error);
    const problem = toProblem(error);
    return c.json(problem, problem.status as ContentfulStatusCode, {
      'content-type': 'application/problem+json',
    });
  });
  return app;
}
