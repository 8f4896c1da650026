import type { Context } from 'hono';
import { parseRange } from './range.ts';

/** Bytes that can be sent whole or in part. */
export type Sendable = Readonly<{
  size: number;
  /** What the bytes are, as a hash; `null` where nobody knows: then they are sent whole. */
  sha256: string | null;
  headers: Readonly<Record<string, string>>;
  /** Opens them, from `begin` up to and without `end`. */
  open(begin: number, end: number): Promise<ReadableStream<Uint8Array>>;
}>;

/** Answers with all of it, or with the part that is asked for (RFC 9110, sections 13 and 14). */
export async function sendPart(c: Context, given: Sendable): Promise<Response> {
  const { size, sha256, open } = given;
  const etag = sha256 === null ? null : `"${sha256}"`;
  const headers: Record<string, string> = {
    ...given.headers,
    'x-content-type-options': 'nosniff',
    ...(etag === null ? {} : { etag, 'accept-ranges': 'bytes' }),
  };
  const known = c.req.header('if-none-match')?.split(',') ?? [];
  const isKnown = known.some((one) => ['*', etag].includes(one.trim().replace(/^W\//, '')));
  if (etag !== null && isKnown) return c.body(null, 304, headers);
  // Of other bytes the rest is of no use.
  const condition = c.req.header('if-range');
  const isWanted =
    etag !== null && c.req.method === 'GET' && (condition === undefined || condition === etag);
  const range = isWanted ? parseRange(c.req.header('range'), size) : null;
  if (range === 'unsatisfiable') {
    return c.body(null, 416, { ...headers, 'content-range': `bytes */${size}` });
  }
  const { begin, end } = range ?? { begin: 0, end: size };
  headers['content-length'] = String(end - begin);
  if (range !== null) headers['content-range'] = `bytes ${begin}-${end - 1}/${size}`;
  const status = range === null ? 200 : 206;
  if (c.req.method === 'HEAD' || end === begin) return c.body(null, status, headers);
  return c.body(await open(begin, end), status, headers);
}
