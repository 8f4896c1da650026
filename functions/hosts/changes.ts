import type { ChangesBodySchema } from '../_shared/contract/hosts.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';

/** `POST /changes`: what was deleted, undeleted, purged or replaced, or made active, after a position. */
export async function listChanges(c: HostContext<{ json: typeof ChangesBodySchema }>) {
  const asked = c.req.valid('json');
  const doing = 'list what was changed';
  if (asked.of === 'generations') {
    const args = { p_limit: asked.limit, p_after: asked.after };
    return c.json(await ask<object>(c, 'storage_host_list_changes', args, doing));
  }
  const { after, limit } = asked;
  const from = after === null ? {} : { p_after_at: after.noted_at, p_after_id: after.project_id };
  const args = { p_limit: limit, ...from };
  return c.json({ items: await ask<object[]>(c, 'storage_host_list_active', args, doing) });
}
