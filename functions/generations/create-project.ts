import type { CreateProjectBodySchema, Project } from '../_shared/contract/api.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';
import { toIso } from './rows.ts';

type Input = { json: typeof CreateProjectBodySchema };

/** `POST /projects`: a new project of the user. The server makes its id. */
export async function createProject(c: UserContext<Input>) {
  const { name } = c.req.valid('json');
  const project = await callDatabase<Project>(
    c.var.database,
    'storage_create_project',
    { p_name: name },
    `create the project ${JSON.stringify(name)}`,
  );
  return c.json({ ...project, created_at: toIso(project.created_at) } satisfies Project, 201);
}
