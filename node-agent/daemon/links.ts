/** Links that users made to generations, where this daemon has the secret key of the project. */
import type { Handler } from 'hono';
import { validate } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { LinkParamSchema } from './link-operations.ts';

/** `GET /v1/projects/:project/:version/links`: those that can be followed, newest first. */
export function listLinks(storage: Storage): Handler {
  return async (c) => {
    const { projectId, version } = readRef(c);
    return c.json({ items: await storage.links.list({ projectId, version }), next_cursor: null });
  };
}

/** `DELETE /v1/projects/:project/:version/links/:link`: whoever has it can follow it no more. */
export function endLink(storage: Storage): Handler {
  return async (c) => {
    const { projectId, version } = readRef(c);
    const { link } = validate(LinkParamSchema, c.req.param());
    return c.json({ name: link, ended: await storage.links.end({ projectId, version }, link) });
  };
}
