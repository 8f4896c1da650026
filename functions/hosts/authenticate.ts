import type { MiddlewareHandler } from 'hono';
import { createServiceClient } from '../_shared/clients.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { isHostKey } from '../_shared/contract/host-key.ts';
import type { Environment } from '../_shared/environment.ts';
import { sha256Of } from '../_shared/sha256.ts';
import type { HostVariables } from './context.ts';
import { noteSeen } from './seen.ts';

/** Makes the way in: by the key of a host. Whose it is, and whether it is over, the SQL function says that does the work. */
export function createAuthenticate(
  environment: Environment,
): MiddlewareHandler<{ Variables: HostVariables }> {
  const service = createServiceClient(environment);
  const seen = noteSeen(service);
  return async (c, next) => {
    const key = /^Bearer (\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
    if (key === undefined || !isHostKey(key)) {
      const message = 'Cannot tell which host you are: there is no key of a host';
      throw new StorageError('unauthenticated', message);
    }
    const keySha256 = await sha256Of(new TextEncoder().encode(key));
    c.set('environment', environment);
    c.set('service', service);
    c.set('keySha256', keySha256);
    c.header('cache-control', 'no-store');
    await next();
    if (c.res.ok) seen(keySha256);
  };
}
