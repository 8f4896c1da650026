import type { Context, MiddlewareHandler } from 'hono';
import { createArchiveLinks } from '../_shared/archive-links.ts';
import { createAuthenticate } from '../_shared/auth.ts';
import { createServiceClient, createUserClient } from '../_shared/clients.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import type { Environment } from '../_shared/environment.ts';
import { createReadObject } from '../_shared/read-object.ts';
import type { UserVariables } from './context.ts';
import { queryGeneration } from './rows.ts';

type Env = { Variables: UserVariables };
type WayIn = MiddlewareHandler<Env>;

/** Makes the two ways in: by a user's token, and by a link to an archive that a user was given. */
export function createWaysIn(environment: Environment): { byToken: WayIn; byTokenOrLink: WayIn } {
  const authenticate = createAuthenticate(environment);
  const archiveLinks = createArchiveLinks(environment);
  const { publishableKey, secretKey } = environment;

  function letIn(c: Context<Env>, variables: Omit<UserVariables, 'requestId'>): void {
    c.set('environment', variables.environment);
    c.set('archiveLinks', variables.archiveLinks);
    c.set('userId', variables.userId);
    c.set('database', variables.database);
    c.set('readObject', variables.readObject);
    c.set('findGeneration', variables.findGeneration);
    c.header('cache-control', 'no-store');
  }

  const byToken: WayIn = async (c, next) => {
    const { id, token } = await authenticate(c.req.header('authorization'));
    const database = createUserClient(environment, token);
    letIn(c, {
      environment,
      archiveLinks,
      userId: id,
      database,
      readObject: createReadObject(environment, publishableKey, token),
      findGeneration: (project, version) =>
        queryGeneration(database, 'storage_get_generation', { project, version }),
    });
    await next();
  };

  /** With a link the service asks, and asks whether the archive is still that user's. */
  const byTokenOrLink: WayIn = async (c, next) => {
    const token = c.req.query('token');
    if (token === undefined) return byToken(c, next);
    const link = await archiveLinks.verify(token);
    const { project, version } = c.req.param() as Record<string, string>;
    if (project !== link.project || version !== String(link.version)) {
      throw new StorageError('unauthenticated', 'Cannot follow the link: it is to another archive');
    }
    const database = createServiceClient(environment);
    letIn(c, {
      environment,
      archiveLinks,
      userId: link.sub,
      database,
      readObject: createReadObject(environment, secretKey, secretKey),
      findGeneration: async (project, version) => {
        const asked = { project, version };
        const owner = { p_owner_id: link.sub };
        const row = await queryGeneration(database, 'storage_get_generation_of', asked, owner);
        return row?.generation_id === link.generation ? row : null;
      },
    });
    await next();
  };
  return { byToken, byTokenOrLink };
}
