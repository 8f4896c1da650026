import type { FindBodySchema, ListBodySchema } from '../_shared/contract/hosts.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';

/** `POST /find`: the rows of versions, and which versions are taken. */
export async function find(c: HostContext<{ json: typeof FindBodySchema }>) {
  const args = { p_items: c.req.valid('json').items };
  return c.json({ items: await ask<object[]>(c, 'storage_host_find', args, 'look up') });
}

/** `POST /list`: a page of projects, or of the generations of one. */
export async function list(c: HostContext<{ json: typeof ListBodySchema }>) {
  const asked = c.req.valid('json');
  const page = { p_limit: asked.limit, p_after: asked.after };
  const items =
    asked.of === 'projects'
      ? ask<object[]>(
          c,
          'storage_host_list_projects',
          { ...page, p_only: asked.only },
          'list the projects',
        )
      : ask<object[]>(
          c,
          'storage_host_list_generations',
          { ...page, p_project_id: asked.project_id },
          `list the generations of "${asked.project_id}"`,
        );
  return c.json({ items: await items });
}
