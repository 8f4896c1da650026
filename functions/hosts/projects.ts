import type { ActivateBodySchema, OwnerBodySchema } from '../_shared/contract/hosts.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';

/** `POST /owner`: says whose a project is that is nobody's, where all of it is the host's. */
export async function setOwner(c: HostContext<{ json: typeof OwnerBodySchema }>) {
  const { project_id, owner_id } = c.req.valid('json');
  const args = { p_project_id: project_id, p_owner_id: owner_id };
  const doing = `set the owner of "${project_id}"`;
  return c.json(await ask<object>(c, 'storage_host_set_owner', args, doing));
}

/** `POST /activate`: makes a generation of the host's the active one. */
export async function activate(c: HostContext<{ json: typeof ActivateBodySchema }>) {
  const { project_id, version, generation_id, at } = c.req.valid('json');
  const args = {
    ...{ p_project_id: project_id, p_version: version, p_generation_id: generation_id },
    p_at: at,
  };
  return c.json(await ask<object>(c, 'storage_host_activate', args, `activate "${project_id}"`));
}
