/** What is known of projects as a whole. */
import type { Handler } from 'hono';
import { parseId, parseVersion } from '../contract.ts';
import { toWire } from '../events/wire.ts';
import type { Storage } from '../storage/storage.ts';
import { readLimit } from './input.ts';

/** `GET /v1/projects`: by id. */
export function listProjects(storage: Storage): Handler {
  return async (c) => {
    const cursor = c.req.query('cursor');
    const page = await storage.listProjects({
      limit: readLimit(c),
      ...(cursor === undefined ? {} : { cursor: parseId(cursor, 'cursor') }),
    });
    return c.json(toWire(page) as object);
  };
}

/** `DELETE /v1/projects/:project`: all of it that this host knows of; again and again, if need be. */
export function deleteProject(storage: Storage): Handler {
  return async (c) => {
    const { projectId, deleted } = await storage.deleteProject(c.req.param('project') ?? '', {
      requestId: c.var.requestId,
    });
    return c.json({ project_id: projectId, status: 'deleted', deleted });
  };
}

/** `POST /v1/projects/:project/undelete`: all of it that this host or the cloud still keeps. */
export function undeleteProject(storage: Storage): Handler {
  return async (c) => {
    const { projectId, undeleted, gone } = await storage.undeleteProject(
      c.req.param('project') ?? '',
      {
        requestId: c.var.requestId,
      },
    );
    return c.json({ project_id: projectId, undeleted, gone });
  };
}

/** `GET /v1/projects/:project/diff?from&to` */
export function diffGenerations(storage: Storage): Handler {
  return async (c) => {
    const project = parseId(c.req.param('project'), 'project id');
    const [from, to] = [parseVersion(c.req.query('from')), parseVersion(c.req.query('to'))];
    return c.json({ from, to, ...(await storage.diff(project, from, to)) });
  };
}
