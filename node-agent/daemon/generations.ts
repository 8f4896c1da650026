/** What is known of generations: list, show, delete, and where to download them. */
import type { Handler } from 'hono';
import { parseId, StorageError, URL_EXPIRY } from '../contract.ts';
import { toWire } from '../events/wire.ts';
import { describe } from '../storage/describe.ts';
import type { Storage } from '../storage/storage.ts';
import { readPage, readRef, readWhole } from './input.ts';

/** `GET /v1/projects/:project`: its generations, newest version first. */
export function listGenerations(storage: Storage): Handler {
  return async (c) => {
    const project = parseId(c.req.param('project'), 'project id');
    const active = await storage.activeVersion(project);
    const { items, nextCursor } = await storage.list(project, readPage(c));
    const marked = items.map((item) => ({ ...item, active: item.version === active }));
    return c.json(toWire({ items: marked, nextCursor }) as object);
  };
}

/** `GET /v1/projects/:project/:version`: one generation, with a URL that works now, if there is one. */
export function showGeneration(storage: Storage): Handler {
  return async (c) => {
    const summary = await storage.show(readRef(c));
    const active = (await storage.activeVersion(summary.projectId)) === summary.version;
    const description = await describe(storage, summary);
    return c.json(toWire({ ...summary, active, ...description }) as object);
  };
}

/** `DELETE /v1/projects/:project/:version`: again and again, if need be. */
export function deleteGeneration(storage: Storage): Handler {
  return async (c) => {
    const { ref, deleted } = await storage.delete(readRef(c), { requestId: c.var.requestId });
    return c.json(toWire({ ...ref, status: 'deleted', deleted }) as object);
  };
}

/** `POST /v1/projects/:project/:version/undelete?digest`: undoes its deletion, or a replacement. */
export function undeleteGeneration(storage: Storage): Handler {
  return async (c) => {
    const { digest } = c.req.query();
    const { ref, undeleted } = await storage.undelete(readRef(c), {
      requestId: c.var.requestId,
      ...(digest === undefined ? {} : { digest }),
    });
    return c.json(toWire({ ...ref, undeleted }) as object);
  };
}

/** `POST /v1/projects/:project/:version/activate`: makes it the active one of its project. */
export function activateGeneration(storage: Storage): Handler {
  return async (c) => {
    const { projectId, version } = await storage.activate(readRef(c));
    return c.json({ project_id: projectId, active_version: version });
  };
}

/**
 * `POST /v1/projects/:project/:version/open`: has its files lie in a folder of this host, got from the
 * cloud if need be, and says where. They are not to be changed, and stay for ten minutes at least.
 */
export function openGeneration(storage: Storage): Handler {
  return async (c) => {
    const { manifest, ...got } = await storage.get(readRef(c));
    return c.json(toWire({ ...got, fileCount: manifest.file_count }) as object);
  };
}

/** `GET /v1/projects/:project/:version/download?expires_in`: a URL that needs nothing else. */
export function downloadGeneration(storage: Storage): Handler {
  return async (c) => {
    const { expires_in } = c.req.query();
    const expiresIn =
      expires_in === undefined
        ? {}
        : { expiresIn: readWhole('expires_in', expires_in, URL_EXPIRY.max) };
    const ref = readRef(c);
    const download = await storage.downloadUrl(ref, expiresIn);
    if (download === null) {
      const name = `"${ref.projectId} v${ref.version}"`;
      throw new StorageError(
        'conflict',
        `Cannot sign ${name}: the Python system left it, migrate it first`,
      );
    }
    return c.json(toWire(download) as object);
  };
}
