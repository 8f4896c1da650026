import type { ListQuerySchema, Page, Project } from '../_shared/contract/api.ts';
import type { UndeletableProject } from '../_shared/contract/deletions.ts';
import { isId } from '../_shared/contract/ids.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';
import { toIso } from './rows.ts';
import { makeTimeCursor, parseTimeCursor } from './time-cursor.ts';

type Input = { query: typeof ListQuerySchema };

/** `GET /projects`: the user's projects, newest first; or those that can be undeleted, the last deleted first. */
export async function listProjects(c: UserContext<Input>) {
  const { limit, cursor, deleted } = c.req.valid('query');
  const column = deleted ? 'deleted_at' : 'created_at';
  const rows = await callDatabase<(Project | UndeletableProject)[]>(
    c.var.database,
    deleted ? 'storage_list_deleted_projects' : 'storage_list_projects',
    { p_limit: limit + 1, ...(cursor === undefined ? {} : after(cursor, column)) },
    'list your projects',
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1) as (Project & Partial<UndeletableProject>) | undefined;
  const page: Page<Project | UndeletableProject> = {
    items: items.map((row) => ({
      ...row,
      created_at: toIso(row.created_at),
      ...('deleted_at' in row
        ? { deleted_at: toIso(row.deleted_at), undelete_until: toIso(row.undelete_until) }
        : {}),
    })),
    next_cursor:
      rows.length > limit && last !== undefined ? makeTimeCursor(last[column]!, last.id) : null,
  };
  return c.json(page);
}

function after(cursor: string, column: string): Record<string, string> {
  const { at, id } = parseTimeCursor(cursor, isId);
  return { [`p_before_${column}`]: at, p_before_id: id };
}
