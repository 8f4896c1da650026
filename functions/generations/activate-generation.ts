import type {
  Activation,
  GenerationQuerySchema,
  VersionParamSchema,
} from '../_shared/contract/api.ts';
import { formatRef, notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

type Input = { param: typeof VersionParamSchema; query: typeof GenerationQuerySchema };

/** `POST /projects/:project/:version/activate`: makes a version the project's active one. */
export async function activateGeneration(c: UserContext<Input>) {
  const { project, version } = c.req.valid('param');
  const { generation } = c.req.valid('query');
  const activated = await callDatabase<boolean>(
    c.var.database,
    'storage_activate_generation',
    { p_project_id: project, p_version: version, p_generation_id: generation ?? null },
    `activate ${formatRef({ projectId: project, version })}`,
  );
  if (!activated) throw notFound({ projectId: project, version });
  const activation: Activation = { project_id: project, active_version: version };
  return c.json(activation);
}
