import * as v from 'valibot';
import type { Page } from '../_shared/contract/api.ts';
import { type Link, LinkParamSchema, type LinksQuerySchema } from '../_shared/contract/links.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';
import { type LinkRow, toLink } from './link-row.ts';
import { makeTimeCursor, parseTimeCursor } from './time-cursor.ts';

/** `GET /links`: the user's links that can be followed, newest first. */
export async function listLinks(c: UserContext<{ query: typeof LinksQuerySchema }>) {
  const { limit, cursor, project = null } = c.req.valid('query');
  const rows = await callDatabase<LinkRow[]>(
    c.var.database,
    'storage_list_links',
    {
      ...{ p_limit: limit + 1, p_project_id: project },
      ...(cursor === undefined ? {} : after(cursor)),
    },
    'list your links',
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const page: Page<Link> = {
    items: items.map((row) => toLink(row, c.var.environment)),
    next_cursor:
      rows.length > limit && last !== undefined ? makeTimeCursor(last.created_at, last.id) : null,
  };
  return c.json(page);
}

function after(cursor: string): Record<string, string> {
  const isLinkId = (id: string) => v.is(LinkParamSchema, { id });
  const { at, id } = parseTimeCursor(cursor, isLinkId);
  return { p_before_created_at: at, p_before_id: id };
}
