import type { ProjectParamSchema } from '../_shared/contract/api.ts';
import type { UndeletedProject } from '../_shared/contract/deletions.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

type Input = { param: typeof ProjectParamSchema };

/**
 * `POST /projects/:project/undelete`: undoes the deletion of a project, with all that was deleted with it.
 * Where it is not deleted, all is as it is.
 */
export async function undeleteProject(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const answer = await callDatabase<Pick<UndeletedProject, 'versions'> | null>(
    c.var.database,
    'storage_undelete_project',
    { p_project_id: project },
    `undelete "${project}"`,
  );
  if (answer === null) throw notFound({ projectId: project });
  const undeleted: UndeletedProject = { project_id: project, versions: answer.versions };
  return c.json(undeleted);
}
