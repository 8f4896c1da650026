import { createArchiveLinks } from '../_shared/archive-links.ts';
import { createServiceClient } from '../_shared/clients.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { FOLLOWED_LINK_SECONDS } from '../_shared/contract/limits.ts';
import type { LinkParamSchema } from '../_shared/contract/links.ts';
import { callDatabase } from '../_shared/database.ts';
import type { Environment } from '../_shared/environment.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { signArchive } from './sign.ts';
import { signZipFor } from './sign-zip.ts';

/** Where a link leads, as the database says. */
type Followed = {
  generation: GenerationRow;
  owner_id: string;
  format: 'tar.gz' | 'zip';
  expires_at: string;
};

/**
 * `GET /links/:id`: leads whoever has the link to a URL of the archive that is good for so short that a link that has
 * ended is ended for everybody. Nobody is asked who they are: the service looks whether it is there, and whose.
 */
export function createFollowLink(environment: Environment) {
  const archiveLinks = createArchiveLinks(environment);
  return async (c: UserContext<{ param: typeof LinkParamSchema }>) => {
    const { id } = c.req.valid('param');
    const database = createServiceClient(environment);
    const service = { var: { environment, archiveLinks, database } };
    // A proxy on the way keeps neither where it leads nor that it has ended.
    c.header('cache-control', 'no-store');
    const followed = await callDatabase<Followed | null>(
      database,
      'storage_follow_link',
      { p_id: id, p_is_counted: c.req.method === 'GET' },
      'follow the link',
    );
    if (followed === null) {
      const state = 'there is none, or it has ended';
      throw new StorageError('not_found', `Cannot follow the link: ${state}`);
    }
    const { generation, owner_id: userId, format, expires_at } = followed;
    const left = Math.ceil((Date.parse(expires_at) - Date.now()) / 1000);
    const expiresIn = Math.min(FOLLOWED_LINK_SECONDS, Math.max(1, left));
    const { url } =
      format === 'zip'
        ? await signZipFor(service, generation, { userId, expiresIn })
        : await signArchive(service, generation, expiresIn);
    // The link is in no request that follows.
    c.header('referrer-policy', 'no-referrer');
    return c.redirect(url, 302);
  };
}
