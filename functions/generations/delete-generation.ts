import { createServiceClient } from '../_shared/clients.ts';
import type {
  DeletedGeneration,
  GenerationQuerySchema,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import { formatRef, notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import type { UserContext } from './context.ts';
import { removeObjects } from './remove-objects.ts';

type Input = { param: typeof VersionParamSchema; query: typeof GenerationQuerySchema };
type Deleted = { generation_id: string; objects: ObjectPlace[] };

/**
 * `DELETE /projects/:project/:version`: leaves a tombstone, then removes the archive. Where it
 * ends between the two, nothing is listed or readable any more, and a repeat finishes it.
 */
export async function deleteGeneration(c: UserContext<Input>) {
  const { project, version } = c.req.valid('param');
  const { generation } = c.req.valid('query');
  const doing = `delete ${formatRef({ projectId: project, version })}`;
  const target = await callDatabase<Deleted | null>(
    c.var.database,
    'storage_delete_generation',
    { p_project_id: project, p_version: version, p_generation_id: generation ?? null },
    doing,
  );
  if (target === null) throw notFound({ projectId: project, version });
  const service = createServiceClient(c.var.environment);
  await removeObjects(service, target.objects, doing);
  const { generation_id } = target;
  const deleted: DeletedGeneration = {
    project_id: project,
    version,
    generation_id,
    status: 'deleted',
  };
  return c.json(deleted);
}
