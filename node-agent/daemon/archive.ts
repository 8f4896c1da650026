import { open } from 'node:fs/promises';
import type { Context, Handler } from 'hono';
import { ARCHIVE_TYPE, parseId, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { ArchiveOnDisk } from '../read/archive.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { sendPart } from './partial.ts';
import { webStreamOf } from './stream.ts';

/**
 * `GET /v1/projects/:project/:version/archive.tar.gz`: to whoever has its signed URL, or may ask
 * for anything. What only the cloud has is redirected there.
 */
export function serveArchive(storage: Storage): Handler {
  const { signer } = storage;
  return async (c) => {
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
      // Taken out of the store since, being in the cloud, or damaged here: it is had from there.
      const isGone = error instanceof StorageError && ELSEWHERE.has(error.code);
      const elsewhere = isGone
        ? await storage.downloadUrl(ref, { fromCloud: true }).catch(() => null)
        : null;
      if (elsewhere === null) throw error;
      return elsewhere;
    });
    if ('url' in archive) return c.redirect(archive.url, 302);
    return send(c, archive);
  };
}

/** What keeps an archive from being had here, and not from the cloud. */
const ELSEWHERE: ReadonlySet<string> = new Set(['not_found', 'corrupt']);

function send(c: Context, { path, bytes, sha256, filename }: ArchiveOnDisk): Promise<Response> {
  return sendPart(c, {
    size: bytes,
    sha256,
    headers: {
      'content-type': ARCHIVE_TYPE,
      'content-disposition': `attachment; filename="${filename}"`,
      'cache-control': 'private, no-store',
    },
    async open(begin, end) {
      const handle = await open(path, 'r').catch((error: unknown) => {
        throw fromFileSystem(error, `read "${filename}"`);
      });
      // Which closes it.
      return webStreamOf(handle.createReadStream({ start: begin, end: end - 1 }));
    },
  });
}
