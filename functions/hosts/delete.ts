import type {
  HostDeleteBodySchema,
  HostUndeleteBodySchema,
  PurgeBodySchema,
} from '../_shared/contract/hosts.ts';
import { formatRef } from '../_shared/contract/ref.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';
import { removeUnneeded } from './remove-unneeded.ts';

const nameOf = ({ project_id, version }: { project_id: string; version: number }) =>
  formatRef({ projectId: project_id, version });

/** `POST /delete`: leaves a tombstone of a generation of the host's. */
export async function deleteGeneration(c: HostContext<{ json: typeof HostDeleteBodySchema }>) {
  const item = c.req.valid('json');
  const doing = `delete ${nameOf(item)}`;
  type Answer = { outcome: string; unneeded?: ObjectPlace[] };
  const answer = await ask<Answer>(c, 'storage_host_delete', { p_item: item }, doing);
  const [said] = await removeUnneeded(c, [answer]);
  return c.json(said!);
}

/** `POST /undelete`: undoes a deletion, or a replacement. */
export async function undelete(c: HostContext<{ json: typeof HostUndeleteBodySchema }>) {
  const item = c.req.valid('json');
  const args = {
    ...{ p_project_id: item.project_id, p_version: item.version },
    ...{ p_generation_id: item.generation_id, p_digest: item.digest },
    p_host_id: item.host_id,
  };
  const doing = `undelete ${nameOf(item)}`;
  return c.json(await ask<object>(c, 'storage_host_undelete', args, doing));
}

/** `POST /purge`: gives up for good what is kept no longer of the host's own. */
export async function purge(c: HostContext<{ json: typeof PurgeBodySchema }>) {
  type Purged = { generations: number; contents: number; objects: ObjectPlace[] };
  const args = { p_limit: c.req.valid('json').limit };
  const purged = await ask<Purged>(c, 'storage_host_purge', args, 'purge');
  await removeUnneeded(c, [{ unneeded: purged.objects }]);
  return c.json({ ...purged, objects: [] as ObjectPlace[] });
}
