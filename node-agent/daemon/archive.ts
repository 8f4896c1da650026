import { open } from 'node:fs/promises';
import type { Context, Handler } from 'hono';
import { ARCHIVE_TYPE, parseId, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { ArchiveOnDisk } from '../read/archive.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { parseRange } from './range.ts';
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

/** All of it, or the part that is asked for. */
async function send(
  c: Context,
  { path, bytes, sha256, filename }: ArchiveOnDisk,
): Promise<Response> {
  const etag = `"${sha256}"`;
  const headers = {
    'content-type': ARCHIVE_TYPE,
    'content-disposition': `attachment; filename="${filename}"`,
    etag,
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-store',
    'x-content-type-options': 'nosniff',
  };
  const known = c.req.header('if-none-match')?.split(',') ?? [];
  if (known.some((one) => ['*', etag].includes(one.trim().replace(/^W\//, '')))) {
    return c.body(null, 304, headers);
  }
  // Of another archive the rest is of no use.
  const condition = c.req.header('if-range');
  const isWanted = condition === undefined || condition === etag;
  const range = isWanted ? parseRange(c.req.header('range'), bytes) : null;
  if (range === 'unsatisfiable') {
    return c.body(null, 416, { ...headers, 'content-range': `bytes */${bytes}` });
  }
  const { begin, end } = range ?? { begin: 0, end: bytes };
  const length = { 'content-length': String(end - begin) };
  const part: Record<string, string> =
    range === null ? {} : { 'content-range': `bytes ${begin}-${end - 1}/${bytes}` };
  const status = range === null ? 200 : 206;
  if (c.req.method === 'HEAD') return c.body(null, status, { ...headers, ...length, ...part });
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw fromFileSystem(error, `read "${filename}"`);
  });
  // Which closes it.
  const stream = handle.createReadStream({ start: begin, end: end - 1 });
  const body = webStreamOf(stream);
  return c.body(body, status, { ...headers, ...length, ...part });
}
