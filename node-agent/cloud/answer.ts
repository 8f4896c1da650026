/**
 * Whether an answer is the platform's word. Between it and us are gateways and proxies that answer
 * for it: with a page, with nothing, with half a body. What they say is no refusal, and no success.
 */

import { joinStatus, parseRetryAfter, splitStatus } from './retry-after.ts';

/** The code of what takes the place of an answer that is not the platform's. */
export const NOT_THE_PLATFORM = 'NotThePlatform';

/** Answers that count whoever gives them: about the key, about the plan. */
const ABOUT_ALL = new Set([401, 402, 540]);

/** What else is asked for there is asked for by a word. */
const OF_OBJECT = /^\/storage\/v1\/object\/(?!(?:info|list|sign|upload|copy|move|public)\/)/;

/** Under TUS the status is real and the body is no JSON. */
const IN_PLAIN_TEXT = '/storage/v1/upload/resumable';

/**
 * Gives an answer on, whole, where it is the platform's; else one that says 503.
 *
 * @throws what ends a body in the middle
 */
export async function readAnswer(response: Response, url: string): Promise<Response> {
  const { status, headers } = response;
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), headers.get('date'));
  if (new URL(url).pathname.startsWith(IN_PLAIN_TEXT)) {
    const isTus = headers.has('tus-resumable') || status >= 500 || ABOUT_ALL.has(status);
    return isTus ? response : notThePlatform(status, retryAfterMs);
  }
  const text = await response.text();
  const body = parse(text);
  const isWord = response.ok
    ? isData(body, status) || isObject(response, url)
    : isProblem(body, url);
  if (!isWord && status < 500 && status !== 429 && !ABOUT_ALL.has(status)) {
    return notThePlatform(status, retryAfterMs);
  }
  if (!response.ok && retryAfterMs !== null) return withWait(status, text, body, retryAfterMs);
  return new Response(status === 204 || status === 304 ? null : text, { status, headers });
}

/** A refusal whose words say how long to wait: its headers are not handed on. */
function withWait(status: number, text: string, body: unknown, retryAfterMs: number): Response {
  const said = typeof body === 'object' && body !== null ? body : { message: text };
  const real = splitStatus((said as { statusCode?: unknown }).statusCode).status || status;
  return Response.json({ ...said, statusCode: joinStatus(real, retryAfterMs) }, { status });
}

/** The same of a refusal that came another way: what to translate. */
export async function readRefusal(
  { status, headers, text }: Readonly<{ status: number; headers: HeadersInit; text: string }>,
  url: string,
): Promise<object> {
  const answer = await readAnswer(new Response(text, { status, headers }), url);
  const body = parse(await answer.text());
  return { message: text, ...(body as object | undefined), status: answer.status };
}

/** Every answer that we wait for has a body: an object, or a list. */
function isData(body: unknown, status: number): boolean {
  return status === 200 && typeof body === 'object' && body !== null;
}

/** The bytes of an object, whatever they are: Storage names every one that it gives. */
function isObject({ status, headers }: Response, url: string): boolean {
  const isOfObject = OF_OBJECT.test(new URL(url).pathname);
  return status === 200 && isOfObject && headers.has('etag');
}

/** PostgREST's own codes, and those of PostgreSQL. */
const SQL_CODE = /^(PGRST\w{1,8}|[0-9A-Z]{5})$/;

/** What Storage and PostgREST say when they refuse. */
function isProblem(body: unknown, url: string): boolean {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return false;
  const { statusCode, code, message } = body as Record<string, unknown>;
  if (new URL(url).pathname.startsWith('/rest/')) {
    return SQL_CODE.test(String(code)) && typeof message === 'string';
  }
  // Storage says the real status in its words: a page of JSON that does not is somebody else's.
  return typeof statusCode === 'string';
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function notThePlatform(status: number, retryAfterMs: number | null): Response {
  const message = `answered ${status}, in words that are not Supabase's`;
  const statusCode = joinStatus(503, retryAfterMs);
  const body = { statusCode, error: NOT_THE_PLATFORM, code: NOT_THE_PLATFORM, message };
  return Response.json(body, { status: 503 });
}
