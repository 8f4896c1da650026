import { createServiceClient } from '../_shared/clients.ts';
import type { DeleteProjectQuerySchema, ProjectParamSchema } from '../_shared/contract/api.ts';
import type { DeletedProject } from '../_shared/contract/deletions.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { REMOVE_AT_ONCE, removeObjects } from '../_shared/remove-objects.ts';
import type { UserContext } from './context.ts';
import { toIso } from './rows.ts';

type Input = { param: typeof ProjectParamSchema; query: typeof DeleteProjectQuerySchema };
type Deleted = { undelete_until: string | null; objects: ObjectPlace[] };

/**
 * `DELETE /projects/:project`: leaves tombstones of the project and of all in it. What they held is kept
 * for a while; where it is not, the archives are removed then. Where it ends in the middle, a
 * repeat finishes it.
 */
export async function deleteProject(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const { purge } = c.req.valid('query');
  const doing = `delete "${project}"`;
  const service = createServiceClient(c.var.environment);
  const first = await markDeleted();
  if (first === null) throw notFound({ projectId: project });
  for (let owed: Deleted | null = first; owed !== null && owed.objects.length > 0; ) {
    await removeObjects(service, owed.objects, doing);
    owed = await markDeleted();
  }
  const deleted: DeletedProject = {
    project_id: project,
    status: 'deleted',
    undelete_until: first.undelete_until && toIso(first.undelete_until),
  };
  return c.json(deleted);

  /** Answers with what is still in the bucket, so many at a time; nothing is new the second time. */
  function markDeleted() {
    return callDatabase<Deleted | null>(
      c.var.database,
      'storage_delete_project',
      { p_project_id: project, p_limit: REMOVE_AT_ONCE, p_purge: purge },
      doing,
    );
  }
}
