/** The URL table of the Storage server, as supabase-js and the TUS clients call it. */
import { type Context, Hono } from 'hono';
import {
  createBucket,
  deleteBucket,
  getBucket,
  listBuckets,
  showBucket,
  updateBucket,
} from './buckets.ts';
import { respondWithObject } from './download.ts';
import { problems, StorageProblem } from './errors.ts';
import { listFolder, listObjects } from './list.ts';
import {
  checkUpload,
  copyObject,
  emptyBucket,
  getObject,
  moveObject,
  type NewObject,
  type Objects,
  printInfo,
  putObject,
  removeObjects,
} from './objects.ts';
import type { Resumable } from './resumable.ts';
import { printObject } from './rows.ts';
import type { Caller } from './session.ts';

const SIGNED_UPLOAD_SECONDS = 7200;

export function createStorageApp(objects: Objects, resumable: Resumable): Hono {
  const { sessions, blobs } = objects;
  const app = new Hono();
  const callerOf = (c: Context): Promise<Caller> =>
    sessions.authenticate(c.req.header('authorization'));

  app.onError((error) => {
    if (error instanceof StorageProblem) return error.toResponse();
    console.error(error);
    return new StorageProblem(
      500,
      'Internal',
      'Internal Server Error',
      'InternalError',
    ).toResponse();
  });
  app.notFound((c) =>
    c.json(
      {
        message: `Route ${c.req.method}:${c.req.path} not found`,
        error: 'Not Found',
        statusCode: 404,
      },
      404,
    ),
  );

  app.use(async (c, next) => {
    await next();
    if (c.res.headers.get('content-type') === 'application/json') {
      c.res.headers.set('content-type', 'application/json; charset=utf-8');
    }
  });

  app.get('/status', (c) => c.body(null, 200));

  app.get('/bucket', async (c) => c.json(await listBuckets(sessions, await callerOf(c))));
  app.post('/bucket', async (c) =>
    c.json(await createBucket(sessions, await callerOf(c), await c.req.json())),
  );
  app.get('/bucket/:bucket', async (c) =>
    c.json(await showBucket(sessions, await callerOf(c), c.req.param('bucket'))),
  );
  app.put('/bucket/:bucket', async (c) =>
    c.json(
      await updateBucket(sessions, await callerOf(c), c.req.param('bucket'), await c.req.json()),
    ),
  );
  app.delete('/bucket/:bucket', async (c) =>
    c.json(await deleteBucket(sessions, await callerOf(c), c.req.param('bucket'))),
  );
  app.post('/bucket/:bucket/empty', async (c) => {
    const caller = await callerOf(c);
    await showBucket(sessions, caller, c.req.param('bucket'));
    await emptyBucket(objects, caller, c.req.param('bucket'));
    return c.json({
      message: 'Empty bucket has been queued. Completion may take up to an hour.',
    });
  });

  app.post('/object/list/:bucket', async (c) =>
    c.json(
      await listFolder(sessions, await callerOf(c), c.req.param('bucket'), await c.req.json()),
    ),
  );
  app.post('/object/list-v2/:bucket', async (c) =>
    c.json(
      await listObjects(sessions, await callerOf(c), c.req.param('bucket'), await c.req.json()),
    ),
  );

  app.post('/object/copy', async (c) => {
    const { from, to } = await readPair(c);
    const upsert = c.req.header('x-upsert') === 'true';
    return c.json(await copyObject(objects, await callerOf(c), from, to, { upsert }));
  });
  app.post('/object/move', async (c) => {
    const { from, to } = await readPair(c);
    await moveObject(objects, await callerOf(c), from, to);
    return c.json({ message: 'Successfully moved' });
  });

  app.post('/object/sign/:bucket/:key{.+}', async (c) => {
    const caller = await callerOf(c);
    const { bucket, key } = placeOf(c);
    const expiresIn = checkExpiry((await c.req.json()) as { expiresIn?: unknown });
    await getObject(sessions, caller, bucket, key);
    return c.json({ signedURL: await signDownload(bucket, key, expiresIn) });
  });
  app.post('/object/sign/:bucket', async (c) => {
    const caller = await callerOf(c);
    const bucket = c.req.param('bucket');
    const body = (await c.req.json()) as { expiresIn?: unknown; paths?: string[] };
    const expiresIn = checkExpiry(body);
    const signed = [];
    for (const path of body.paths ?? []) {
      const found = await getObject(sessions, caller, bucket, path).catch(() => null);
      signed.push(
        found === null
          ? {
              error: 'Either the object does not exist or you do not have access to it',
              path,
              signedURL: null,
            }
          : { error: null, path, signedURL: await signDownload(bucket, path, expiresIn) },
      );
    }
    return c.json(signed);
  });
  app.get('/object/sign/:bucket/:key{.+}', async (c) => {
    const { bucket, key } = placeOf(c);
    const claims = await sessions.verifySigned(c.req.query('token'), `${bucket}/${key}`);
    return respondWithObject(blobs, await getObject(sessions, null, bucket, key), {
      request: c.req.raw,
      download: c.req.query('download'),
      expires: new Date((claims.exp ?? 0) * 1000),
    });
  });

  app.post('/object/upload/sign/:bucket/:key{.+}', async (c) => {
    const caller = await callerOf(c);
    const { bucket, key } = placeOf(c);
    const upsert = c.req.header('x-upsert') === 'true';
    const object = newObject(c, caller.sub);
    await checkUpload(objects, caller, object, { upsert, contentLength: null });
    const token = await sessions.sign(
      { owner: caller.sub, url: `${bucket}/${key}`, upsert },
      SIGNED_UPLOAD_SECONDS,
    );
    return c.json({ url: `/object/upload/sign/${bucket}/${encodeKey(key)}?token=${token}`, token });
  });
  app.put('/object/upload/sign/:bucket/:key{.+}', async (c) => {
    const { bucket, key } = placeOf(c);
    const claims = await sessions.verifySigned(c.req.query('token'), `${bucket}/${key}`);
    const owner = typeof claims.owner === 'string' ? claims.owner : null;
    const upload = await readUpload(c, owner);
    if (claims.upsert !== true) await checkFree(bucket, key);
    const { Key } = await putObject(objects, null, upload.object, upload, upload.body);
    return c.json({ Key });
  });

  app.on(['GET', 'HEAD'], '/object/info/authenticated/:bucket/:key{.+}', info);
  app.on(['GET', 'HEAD'], '/object/info/:bucket/:key{.+}', info);
  app.get('/object/public/:bucket/:key{.+}', async (c) => {
    const { bucket, key } = placeOf(c);
    if (!(await getBucket(sessions, bucket)).public) throw problems.noSuchBucket();
    const row = await getObject(sessions, null, bucket, key);
    return respondWithObject(blobs, row, { request: c.req.raw, download: c.req.query('download') });
  });
  app.get('/object/authenticated/:bucket/:key{.+}', download);
  app.get('/object/:bucket/:key{.+}', download);
  app.post('/object/:bucket/:key{.+}', (c) => upload(c, c.req.header('x-upsert') === 'true'));
  app.put('/object/:bucket/:key{.+}', (c) => upload(c, true));
  app.delete('/object/:bucket/:key{.+}', async (c) => {
    const caller = await callerOf(c);
    const { bucket, key } = placeOf(c);
    await getObject(sessions, caller, bucket, key);
    const removed = await removeObjects(objects, caller, bucket, [key]);
    if (removed.length === 0) throw problems.accessDenied();
    return c.json({ message: 'Successfully deleted' });
  });
  app.delete('/object/:bucket', async (c) => {
    const caller = await callerOf(c);
    const { prefixes } = (await c.req.json()) as { prefixes: string[] };
    const removed = await removeObjects(objects, caller, c.req.param('bucket'), prefixes);
    return c.json(removed.map(printObject));
  });

  app.all('/upload/resumable', tus);
  app.all('/upload/resumable/*', tus);

  return app;

  async function info(c: Context): Promise<Response> {
    const { bucket, key } = placeOf(c);
    const row = await getObject(sessions, await callerOf(c), bucket, key);
    c.header('etag', row.metadata.eTag);
    c.header('cache-control', row.metadata.cacheControl);
    c.header('last-modified', new Date(row.metadata.lastModified).toUTCString());
    return c.json(printInfo(row));
  }

  async function download(c: Context): Promise<Response> {
    const { bucket, key } = placeOf(c);
    const row = await getObject(sessions, await callerOf(c), bucket, key);
    return respondWithObject(blobs, row, { request: c.req.raw, download: c.req.query('download') });
  }

  async function upload(c: Context, upsert: boolean): Promise<Response> {
    const caller = await callerOf(c);
    const { object, body, contentLength } = await readUpload(c, caller.sub);
    return c.json(await putObject(objects, caller, object, { upsert, contentLength }, body));
  }

  async function tus(c: Context): Promise<Response> {
    const authenticate = () => sessions.authenticate(c.req.header('authorization') ?? '');
    return resumable.handle(c.req.raw, authenticate);
  }

  async function signDownload(bucket: string, key: string, expiresIn: number): Promise<string> {
    const token = await sessions.sign({ url: `${bucket}/${key}` }, expiresIn);
    return `/object/sign/${bucket}/${encodeKey(key)}?token=${token}`;
  }

  async function checkFree(bucket: string, key: string): Promise<void> {
    const taken = await getObject(sessions, null, bucket, key).then(
      () => true,
      () => false,
    );
    if (taken) throw problems.duplicate('KeyAlreadyExists');
  }
}

type Upload = {
  object: NewObject;
  upsert: boolean;
  contentLength: number | null;
  body: ReadableStream<Uint8Array> | null;
};

/** Reads an upload: the body as it is, or the file of a form, which is how a Blob is sent. */
async function readUpload(c: Context, owner: string | null): Promise<Upload> {
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
      userMetadata: typeof metadata === 'string' ? parseJson(metadata) : null,
    },
    upsert,
    contentLength: file.size,
    body: file.stream(),
  };
}

function newObject(c: Context, owner: string | null): NewObject {
  const metadata = c.req.header('x-metadata');
  return {
    ...placeOf(c),
    owner,
    type: c.req.header('content-type') ?? 'application/octet-stream',
    cacheControl: c.req.header('cache-control') ?? 'no-cache',
    userMetadata:
      metadata === undefined ? null : parseJson(Buffer.from(metadata, 'base64').toString('utf8')),
  };
}

function parseJson(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

function placeOf(c: Context): { bucket: string; key: string } {
  return { bucket: c.req.param('bucket') ?? '', key: c.req.param('key') ?? '' };
}

async function readPair(c: Context) {
  const body = (await c.req.json()) as {
    bucketId: string;
    sourceKey: string;
    destinationBucket?: string;
    destinationKey: string;
  };
  return {
    from: { bucket: body.bucketId, key: body.sourceKey },
    to: { bucket: body.destinationBucket ?? body.bucketId, key: body.destinationKey },
  };
}

function checkExpiry(body: { expiresIn?: unknown }): number {
  const { expiresIn } = body;
  if (typeof expiresIn === 'number' && expiresIn >= 1) return expiresIn;
  throw problems.invalidRequest('body/expiresIn must be >= 1');
}

function encodeKey(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}
