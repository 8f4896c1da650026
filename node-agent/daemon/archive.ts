import { serveStatic } from '@hono/node-server/serve-static';
import type { Handler } from 'hono';
import { etag } from 'hono/etag';
import type { Storage } from '../agent.ts';
import { ARCHIVE_TYPE, parseId, parseVersion, StorageError } from '../contract.ts';

const etagOf = etag();

/** `GET /v1/projects/:project/:version/archive.tar.gz`: to whoever has its signed URL. */
export function serveArchive(storage: Storage): Handler {
  const { signer } = storage;
  return async (c, next) => {
    const ref = {
      projectId: parseId(c.req.param('project'), 'project id'),
      version: parseVersion(c.req.param('version')),
      generationId: parseId(c.req.query('generation'), 'generation id'),
    };
    const { expires = '', signature = '' } = c.req.query();
    if (!signer.isGood(ref, Number(expires), signature, Date.now())) {
      throw new StorageError('forbidden', 'Cannot download: the URL is expired or not genuine');
    }
    const archive = await storage.archive(ref);
    const send = serveStatic({
      path: archive.path,
      onFound: () => {
        c.header('content-type', ARCHIVE_TYPE);
        c.header('content-disposition', `attachment; filename="${archive.filename}"`);
        c.header('etag', `"${archive.sha256}"`);
        c.header('accept-ranges', 'bytes');
        c.header('cache-control', 'private, no-store');
        c.header('x-content-type-options', 'nosniff');
      },
    });
    return etagOf(c, async () => {
      const response = await send(c, next);
      if (response !== undefined) c.res = response;
    });
  };
}
