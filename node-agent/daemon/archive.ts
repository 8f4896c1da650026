import { serveStatic } from '@hono/node-server/serve-static';
import type { Handler } from 'hono';
import { etag } from 'hono/etag';
import type { Storage } from '../agent.ts';
import { ARCHIVE_TYPE, parseId, StorageError } from '../contract.ts';
import { readRef } from './input.ts';

const etagOf = etag();

/**
 * `GET /v1/projects/:project/:version/archive.tar.gz`: to whoever has its signed URL, or may ask
 * for anything. What only the cloud has is redirected there.
 */
export function serveArchive(storage: Storage): Handler {
  const { signer } = storage;
  return async (c, next) => {
    const ref = readRef(c);
    const { expires = '', signature } = c.req.query();
    // The guard let whoever has a signature in without a token.
    if (signature !== undefined) {
      const signed = { ...ref, generationId: parseId(ref.generationId, 'generation id') };
      if (!signer.isGood(signed, Number(expires), signature, Date.now())) {
        throw new StorageError('forbidden', 'Cannot download: the URL is expired or not genuine');
      }
    }
    const archive = await storage.archive(ref).catch(async (error: unknown) => {
      // Taken out of the store since, being in the cloud: it is had from there.
      const elsewhere = await storage.downloadUrl(ref).catch(() => null);
      if (elsewhere === null) throw error;
      return elsewhere;
    });
    if ('url' in archive) return c.redirect(archive.url, 302);
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
