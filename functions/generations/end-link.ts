import { StorageError } from '../_shared/contract/errors.ts';
import type { EndedLink, LinkParamSchema } from '../_shared/contract/links.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

/** `DELETE /links/:id`: ends a link of the user. */
export async function endLink(c: UserContext<{ param: typeof LinkParamSchema }>) {
  const { id } = c.req.valid('param');
  const done = await callDatabase<{ ended: boolean } | null>(
    c.var.database,
    'storage_end_link',
    { p_id: id },
    'end the link',
  );
  if (done === null) throw new StorageError('not_found', `Cannot find link "${id}"`);
  const answer: EndedLink = { id, ended: done.ended };
  return c.json(answer);
}
