import { createServiceClient } from '../_shared/clients.ts';
import type { DeletedProject, ProjectParamSchema } from '../_shared/contract/api.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import type { UserContext } from './context.ts';
import { REMOVE_AT_ONCE, removeObjects } from './remove-objects.ts';

type Input = { param: typeof ProjectParamSchema };

/**
 * `DELETE /projects/:project`: leaves tombstones of the project and of all in it, then removes the
 * archives. Where it ends in the middle, a repeat finishes it.
 */
export async function deleteProject(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const doing = `delete "${project}"`;
  const service = createServiceClient(c.var.environment);
  let owed = await markDeleted();
  if (owed === null) throw notFound({ projectId: project });
  while (owed !== null && owed.length > 0) {
    await removeObjects(service, owed, doing);
    owed = await markDeleted();
  }
  const deleted: DeletedProject = { project_id: project, status: 'deleted' };
  return c.json(deleted);

  /** Answers with what is still in the bucket, so many at a time; nothing is new the second time. */
  function markDeleted() {
    return callDatabase<ObjectPlace[] | null>(
      c.var.database,
      'storage_delete_project',
      { p_project_id: project, p_limit: REMOVE_AT_ONCE },
      doing,
    );
  }
}
