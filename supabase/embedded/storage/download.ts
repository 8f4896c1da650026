import type { Blobs } from './blobs.ts';
import { problems } from './errors.ts';
import type { ObjectRow } from './rows.ts';

type DownloadOptions = {
  request: Request;
  /** `?download`: absent, empty, or a file name. */
  download: string | undefined;
  /** When the signed URL expires; absent where the request carries a token of its own. */
  expires?: Date;
};

/** Answers with the bytes of an object, or a part of them. */
export function respondWithObject(
  blobs: Blobs,
  row: ObjectRow,
  options: DownloadOptions,
): Response {
  const { request } = options;
  const { metadata } = row;
  const headers = new Headers({
    'content-type': metadata.mimetype,
    'accept-ranges': 'bytes',
    etag: metadata.eTag,
    'last-modified': new Date(metadata.lastModified).toUTCString(),
    'x-robots-tag': 'none',
  });
  const known = request.headers.get('if-none-match');
  if (options.expires !== undefined) headers.set('expires', options.expires.toUTCString());
  else {
    // Who holds other bytes may show them while it asks again.
    const isOther = known !== null && known !== metadata.eTag;
    const revalidate = isOther ? ', stale-while-revalidate=30' : '';
    headers.set('cache-control', `${metadata.cacheControl}${revalidate}`);
  }
  if (options.download !== undefined) {
    headers.set('content-disposition', makeDisposition(options.download));
  }
  const isKnown = known === null ? !isModified(request, metadata) : known === metadata.eTag;
  if (isKnown) {
    headers.set('content-length', '0');
    return new Response(null, { status: 304, headers });
  }
  const range = parseRange(request.headers.get('range'), metadata.size);
  const start = range?.start ?? 0;
  const end = range?.end ?? metadata.size - 1;
  headers.set('content-length', String(end - start + 1));
  if (range !== null) headers.set('content-range', `bytes ${start}-${end}/${metadata.size}`);
  // A database that was put back knows of objects whose bytes were removed since.
  if (!blobs.has(row.version)) throw problems.noSuchKey();
  const empty = request.method === 'HEAD' || metadata.size === 0;
  const body = empty ? null : blobs.read(row.version, start, end);
  return new Response(body, { status: range === null ? 200 : 206, headers });
}

/** Whether it was written since the whole second that the request names, or names none. */
function isModified(request: Request, { lastModified }: ObjectRow['metadata']): boolean {
  const since = Date.parse(request.headers.get('if-modified-since') ?? '');
  const second = Math.floor(Date.parse(lastModified) / 1000) * 1000;
  return !(second <= since);
}

/** Reads a `Range` of one part. HTTP would pass over a header that is none; the server does not. */
function parseRange(header: string | null, size: number): { start: number; end: number } | null {
  if (header === null) return null;
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header);
  if (match === null || (match[1] === '' && match[2] === '')) throw problems.invalidRange();
  const [start, end] =
    match[1] === ''
      ? [Math.max(0, size - Number(match[2])), size - 1]
      : [Number(match[1]), match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)];
  if (start > end || start >= size) throw problems.invalidRange();
  return { start, end };
}

function makeDisposition(name: string): string {
  if (name === '') return 'attachment;';
  const encoded = encodeURIComponent(name);
  return `attachment; filename=${encoded}; filename*=UTF-8''${encoded}`;
}
