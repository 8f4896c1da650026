import type {
  Generation,
  Page,
  PageQuerySchema,
  ProjectParamSchema,
} from '../_shared/contract/api.ts';
import { MAX_VERSION } from '../_shared/contract/ids.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';
import { notOfThisList, toGeneration } from './rows.ts';

type Input = { param: typeof ProjectParamSchema; query: typeof PageQuerySchema };

/** `GET /projects/:project`: a project's generations, newest version first. */
export async function listGenerations(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const { limit, cursor } = c.req.valid('query');
  const rows = await callDatabase<Generation[] | null>(
    c.var.database,
    'storage_list_generations',
    {
      p_project_id: project,
      p_limit: limit + 1,
      ...(cursor === undefined ? {} : { p_before: parseCursor(cursor) }),
    },
    `list "${project}"`,
  );
  if (rows === null) throw notFound({ projectId: project });
  const items = rows.slice(0, limit);
  const page: Page<Generation> = {
    items: items.map(toGeneration),
    next_cursor: rows.length > limit ? String(items.at(-1)?.version) : null,
  };
  return c.json(page);
}

/** The cursor is the last version of the page before. */
function parseCursor(cursor: string): number {
  const version = /^\d{1,10}$/.test(cursor) ? Number(cursor) : 0;
  if (version >= 1 && version <= MAX_VERSION) return version;
  throw notOfThisList();
}
