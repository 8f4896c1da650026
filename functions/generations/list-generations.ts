import type {
  Generation,
  ListQuerySchema,
  Page,
  ProjectParamSchema,
} from '../_shared/contract/api.ts';
import type { UndeletableGeneration } from '../_shared/contract/deletions.ts';
import { MAX_VERSION } from '../_shared/contract/ids.ts';
import { notFound } from '../_shared/contract/ref.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';
import { notOfThisList, toGeneration, toIso } from './rows.ts';

type Input = { param: typeof ProjectParamSchema; query: typeof ListQuerySchema };

/** `GET /projects/:project`: a project's generations, or what of it can be undone, newest version first. */
export async function listGenerations(c: UserContext<Input>) {
  const { project } = c.req.valid('param');
  const { limit, cursor, deleted } = c.req.valid('query');
  const rows = await callDatabase<Generation[] | UndeletableGeneration[] | null>(
    c.var.database,
    deleted ? 'storage_list_deleted' : 'storage_list_generations',
    {
      p_project_id: project,
      p_limit: limit + 1,
      ...(cursor === undefined ? {} : { p_before: parseCursor(cursor) }),
    },
    `list "${project}"`,
  );
  if (rows === null) throw notFound({ projectId: project });
  const items = rows.slice(0, limit);
  const page: Page<Generation | UndeletableGeneration> = {
    items: items.map((row) => ('replaced' in row ? toUndeletable(row) : toGeneration(row))),
    next_cursor: rows.length > limit ? String(items.at(-1)?.version) : null,
  };
  return c.json(page);
}

function toUndeletable(row: UndeletableGeneration): UndeletableGeneration {
  const { status, deleted_at, undelete_until, replaced } = row;
  return {
    ...toGeneration(row as Generation),
    status,
    deleted_at: deleted_at && toIso(deleted_at),
    undelete_until: undelete_until && toIso(undelete_until),
    replaced: replaced.map((content) => ({
      ...content,
      created_at: content.created_at && toIso(content.created_at),
      replaced_at: toIso(content.replaced_at),
      undelete_until: toIso(content.undelete_until),
    })),
  };
}

/** The cursor is the last version of the page before. */
function parseCursor(cursor: string): number {
  const version = /^\d{1,10}$/.test(cursor) ? Number(cursor) : 0;
  if (version >= 1 && version <= MAX_VERSION) return version;
  throw notOfThisList();
}
