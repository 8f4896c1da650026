import type { CheckBodySchema } from '../_shared/contract/hosts.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';
import { keepHouse } from './keep-house.ts';

/** `POST /check`: what the key opens; and that the agent is there, where it says its id. */
export async function check(c: HostContext<{ json: typeof CheckBodySchema }>) {
  const { host_id, count } = c.req.valid('json');
  const args = { p_host_id: host_id, p_count: count };
  const answer = await ask<object>(c, 'storage_host_check', args, 'check the key');
  if (host_id !== null) await keepHouse(c).catch((error) => console.error(c.var.requestId, error));
  return c.json(answer);
}
