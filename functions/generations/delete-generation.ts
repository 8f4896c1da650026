import { createServiceClient } from '../_shared/clients.ts';
import type { DeleteGenerationQuerySchema, VersionParamSchema } from '../_shared/contract/api.ts';
import type { DeletedGeneration } from '../_shared/contract/deletions.ts';
import { formatRef, notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { removeObjects } from '../_shared/remove-objects.ts';
import type { UserContext } from './context.ts';
import { toIso } from './rows.ts';

type Input = { param: typeof VersionParamSchema; query: typeof DeleteGenerationQuerySchema };
type Deleted = { generation_id: string; undelete_until: string | null; objects: ObjectPlace[] };

/**
 * `DELETE /projects/:project/:version`: leaves a tombstone. What it held is kept for a while; where it is
 * not, the archive is removed then. Where it ends between the two, nothing is listed or readable
 * any more, and a repeat finishes it.
 */
export async function deleteGeneration(c: UserContext<Input>) {
  const { project, version } = c.req.valid('param');
  const { generation, purge } = c.req.valid('query');
  const doing = `delete ${formatRef({ projectId: project, version })}`;
  const target = await callDatabase<Deleted | null>(
    c.var.database,
    'storage_delete_generation',
    {
      ...{ p_project_id: project, p_version: version },
      ...{ p_generation_id: generation ?? null, p_purge: purge },
    },
    doing,
  );
  if (target === null) throw notFound({ projectId: project, version });
  const service = createServiceClient(c.var.environment);
  await removeObjects(service, target.objects, doing);
  const { generation_id, undelete_until } = target;
  const deleted: DeletedGeneration = {
    project_id: project,
    version,
    generation_id,
    status: 'deleted',
    undelete_until: undelete_until && toIso(undelete_until),
  };
  return c.json(deleted);
}
