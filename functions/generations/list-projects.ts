import type { Page, PageQuerySchema, Project } from '../_shared/contract/api.ts';
import { isId } from '../_shared/contract/ids.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';
import { notOfThisList, toIso } from './rows.ts';

type Input = { query: typeof PageQuerySchema };

/** `GET /projects`: the user's projects, newest first. */
export async function listProjects(c: UserContext<Input>) {
  const { limit, cursor } = c.req.valid('query');
  const rows = await callDatabase<Project[]>(
    c.var.database,
    'storage_list_projects',
    { p_limit: limit + 1, ...(cursor === undefined ? {} : parseCursor(cursor)) },
    'list your projects',
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const page: Page<Project> = {
    items: items.map((row) => ({ ...row, created_at: toIso(row.created_at) })),
    // The cursor keeps the microseconds that the item has lost.
    next_cursor:
      rows.length > limit && last !== undefined ? makeCursor(last.created_at, last.id) : null,
  };
  return c.json(page);
}

/** A time as PostgreSQL prints it in JSON. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d:\d\d$/;

function makeCursor(createdAt: string, id: string): string {
  return btoa(`${createdAt} ${id}`).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function parseCursor(cursor: string): { p_before_created_at: string; p_before_id: string } {
  try {
    const text = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'));
    const [createdAt = '', id = ''] = text.split(' ');
    if (isId(id) && TIME.test(createdAt)) {
      return { p_before_created_at: createdAt, p_before_id: id };
    }
  } catch {
    // Not base64: the same answer as for any other cursor that is none of ours.
  }
  throw notOfThisList();
}
