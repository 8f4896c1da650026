/** The URL table of the function `generations`, and what holds for every route. */
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { cors } from 'hono/cors';
import { requestId } from 'hono/request-id';
import { createAuthenticate } from '../_shared/auth.ts';
import { createUserClient } from '../_shared/clients.ts';
import { StorageError, toProblem } from '../_shared/contract/errors.ts';
import type { Environment } from '../_shared/environment.ts';
import { activateGeneration } from './activate-generation.ts';
import type { UserVariables } from './context.ts';
import { createProject } from './create-project.ts';
import { deleteGeneration } from './delete-generation.ts';
import { downloadGeneration } from './download-generation.ts';
import { listGenerations } from './list-generations.ts';
import { listProjects } from './list-projects.ts';
import { showGeneration } from './show-generation.ts';
import { showUsage } from './show-usage.ts';

/** Bytes of a request body: every one is a small JSON object. */
const BODY_LIMIT = 64 * 1024;

export function createApp(environment: Environment): Hono<{ Variables: UserVariables }> {
  const app = new Hono<{ Variables: UserVariables }>().basePath('/generations');
  const authenticate = createAuthenticate(environment);

  app.use(requestId());
  app.use(
    cors({
      origin: '*',
      allowMethods: ['GET', 'POST', 'DELETE', 'OPTIONS'],
      allowHeaders: ['authorization', 'apikey', 'content-type', 'x-client-info', 'x-request-id'],
      exposeHeaders: ['x-request-id'],
      maxAge: 3600,
    }),
  );
  app.use(
    bodyLimit({
      maxSize: BODY_LIMIT,
      onError: () => {
        throw new StorageError('too_large', `Cannot read the request: over ${BODY_LIMIT} bytes`);
      },
    }),
  );
  app.onError((error, c) => {
    const problem = toProblem(error, c.var.requestId);
    // What went wrong inside is for the log of the function alone.
    if (problem.status >= 500) console.error(c.var.requestId, error);
    if (problem.status === 401) c.header('www-authenticate', 'Bearer');
    return c.body(JSON.stringify(problem), problem.status as 500, {
      'content-type': 'application/problem+json',
    });
  });
  app.notFound((c) => {
    throw new StorageError('not_found', `Cannot find ${c.req.method} ${c.req.path}`);
  });

  app.get('/health', (c) => c.json({ status: 'ok' }));

  for (const path of ['/projects/*', '/usage']) {
    app.use(path, async (c, next) => {
      const user = await authenticate(c.req.header('authorization'));
      c.set('user', user);
      c.set('database', createUserClient(environment, user.token));
      c.header('cache-control', 'no-store');
      await next();
    });
  }
  app.get('/projects', listProjects);
  app.post('/projects', createProject);
  app.get('/projects/:project', listGenerations);
  app.get('/projects/:project/:version', showGeneration({ environment }));
  app.post('/projects/:project/:version/download', downloadGeneration({ environment }));
  app.post('/projects/:project/:version/activate', activateGeneration);
  app.delete('/projects/:project/:version', deleteGeneration({ environment }));

  app.get('/usage', showUsage);

  return app;
}
