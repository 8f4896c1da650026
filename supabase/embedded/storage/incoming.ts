/** What a request brings: where an object goes, what it is, and its bytes. */
import type { Context } from 'hono';
import { problems } from './errors.ts';
import type { NewObject } from './objects.ts';

type Upload = {
  object: NewObject;
  upsert: boolean;
  contentLength: number | null;
  body: ReadableStream<Uint8Array> | null;
};

/** Reads an upload: the body as it is, or the file of a form, which is how a Blob is sent. */
export async function readUpload(c: Context, owner: string | null): Promise<Upload> {
  const object = newObject(c, owner);
  const upsert = c.req.header('x-upsert') === 'true';
  if (!object.type.startsWith('multipart/form-data')) {
    const length = c.req.header('content-length');
    const contentLength = length === undefined ? null : Number(length);
    return { object, upsert, contentLength, body: c.req.raw.body };
  }
  const form = await c.req.raw.formData();
  const file = [...form.values()].find((value) => value instanceof File);
  if (file === undefined) throw problems.invalidRequest('body must hold a file');
  const seconds = form.get('cacheControl');
  const metadata = form.get('metadata');
  return {
    object: {
      ...object,
      type: file.type === '' ? 'application/octet-stream' : file.type,
      cacheControl: typeof seconds === 'string' ? `max-age=${seconds}` : 'no-cache',
      userMetadata: typeof metadata === 'string' ? parseJson(metadata) : {},
    },
    upsert,
    contentLength: file.size,
    body: file.stream(),
  };
}

export function newObject(c: Context, owner: string | null): NewObject {
  const metadata = c.req.header('x-metadata');
  return {
    ...placeOf(c),
    owner,
    type: c.req.header('content-type') ?? 'application/octet-stream',
    cacheControl: c.req.header('cache-control') ?? 'no-cache',
    userMetadata:
      metadata === undefined ? {} : parseJson(Buffer.from(metadata, 'base64').toString('utf8')),
  };
}

/** Metadata that is no JSON is passed over. */
export function parseJson(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

export function placeOf(c: Context): { bucket: string; key: string } {
  return { bucket: c.req.param('bucket') ?? '', key: c.req.param('key') ?? '' };
}
