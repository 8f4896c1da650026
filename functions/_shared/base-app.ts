import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { requestId } from 'hono/request-id';
import { StorageError, toProblem } from './contract/errors.ts';

type Named = { requestId: string };

/**
 * Makes an app that has what holds for every route of every function: each request has an id, its body a limit,
 * and what goes wrong is answered as problem details.
 *
 * @param bodyBytes of a request, at most
 * @param before what also holds for one whose body is too large
 */
export function createBaseApp<V extends Named>(
  bodyBytes: number,
  ...before: MiddlewareHandler[]
): Hono<{ Variables: V }> {
  const app = new Hono<{ Variables: V }>();
  app.use(requestId(), ...before);
  app.use(
    bodyLimit({
      maxSize: bodyBytes,
      onError: () => {
        throw new StorageError('too_large', `Cannot read the request: over ${bodyBytes} bytes`);
      },
    }),
  );
  app.onError((error, c) => {
    const { requestId } = (c as unknown as Context<{ Variables: Named }>).var;
    const problem = toProblem(error, requestId);
    // What went wrong inside is for the log of the function alone.
    if (problem.status >= 500) console.error(requestId, error);
    if (problem.status === 401) c.header('www-authenticate', 'Bearer');
    return c.body(JSON.stringify(problem), problem.status as 500, {
      'content-type': 'application/problem+json',
    });
  });
  app.notFound((c) => {
    throw new StorageError('not_found', `Cannot find ${c.req.method} ${c.req.path}`);
  });
  return app;
}
