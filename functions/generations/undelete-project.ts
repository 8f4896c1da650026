import type { ProjectParamSchema } from '../_shared/contract/api.ts';
import type { UndeletedProject } from '../_shared/contract/deletions.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

type Input = { param: typeof ProjectParamSchema };
type Undeleted = { outcome: 'undeleted' | 'live'; versions: number } | { outcome: 'purged' };

/**
 * `POST /projects/:project/undelete`: undoes the deletion of a project, with all that was deleted with it.
 * Where it is not deleted, all is as it is.
 */
export async function undeleteProject(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const answer = await callDatabase<Undeleted | null>(
    c.var.database,
    'storage_undelete_project',
    { p_project_id: project },
    `undelete "${project}"`,
  );
  if (answer === null) throw notFound({ projectId: project });
  if (answer.outcome === 'purged') {
    const message = `Cannot undelete "${project}": it was purged, nothing of it is left`;
    throw new StorageError('not_found', message);
  }
  const undeleted: UndeletedProject = { project_id: project, versions: answer.versions };
  return c.json(undeleted);
}
