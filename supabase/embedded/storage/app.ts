/** The URL table of the Storage server, as supabase-js and the TUS clients call it. */
import { type Context, Hono } from 'hono';
import {
  createBucket,
  deleteBucket,
  findBucket,
  listBuckets,
  showBucket,
  updateBucket,
} from './buckets.ts';
import { respondWithObject } from './download.ts';
import { problems, StorageProblem } from './errors.ts';
import { newObject, placeOf, readUpload } from './incoming.ts';
import { listFolder, listObjects } from './list.ts';
import {
  checkUpload,
  copyObject,
  emptyBucket,
  getObject,
  moveObject,
  type Objects,
  printInfo,
  putObject,
  removeObjects,
} from './objects.ts';
import type { Resumable } from './resumable.ts';
import { type ObjectRow, printObject } from './rows.ts';
import { bodies, type PairInput, readBody } from './schemas.ts';
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
    return problems.internal().toResponse();
  });
  app.notFound((c) => {
    const answer = problems.noSuchRoute(c.req.method, c.req.path).toResponse();
    // No route has said that it answers in UTF-8.
    answer.headers.set('content-type', 'application/json');
    return answer;
  });

  app.use(async (c, next) => {
    await next();
    if (c.res.ok && c.res.headers.get('content-type') === 'application/json') {
      c.res.headers.set('content-type', 'application/json; charset=utf-8');
    }
  });

  app.get('/status', (c) => c.body(null, 200, { 'content-length': '0' }));

  app.get('/bucket', async (c) => c.json(await listBuckets(sessions, await callerOf(c))));
  app.post('/bucket', async (c) => {
    const input = await readBody(c, bodies.newBucket);
    return c.json(await createBucket(sessions, await callerOf(c), input));
  });
  app.get('/bucket/:bucket', async (c) =>
    c.json(await showBucket(sessions, await callerOf(c), c.req.param('bucket'))),
  );
  app.put('/bucket/:bucket', async (c) => {
    const input = await readBody(c, bodies.bucket);
    return c.json(await updateBucket(sessions, await callerOf(c), c.req.param('bucket'), input));
  });
  app.delete('/bucket/:bucket', async (c) =>
    c.json(await deleteBucket(sessions, await callerOf(c), c.req.param('bucket'))),
  );
  app.post('/bucket/:bucket/empty', async (c) => {
    const caller = await callerOf(c);
    if (caller.role !== 'service_role') throw problems.invalidRole();
    await showBucket(sessions, caller, c.req.param('bucket'));
    await emptyBucket(objects, caller, c.req.param('bucket'));
    return c.json({
      message: 'Empty bucket has been queued. Completion may take up to an hour.',
    });
  });

  app.post('/object/list/:bucket', async (c) => {
    const input = await readBody(c, bodies.list);
    return c.json(await listFolder(sessions, await callerOf(c), c.req.param('bucket'), input));
  });
  app.post('/object/list-v2/:bucket', async (c) => {
    const input = await readBody(c, bodies.listV2);
    return c.json(await listObjects(sessions, await callerOf(c), c.req.param('bucket'), input));
  });

  app.post('/object/copy', async (c) => {
    const { from, to } = asPair(await readBody(c, bodies.copy));
    const upsert = c.req.header('x-upsert') === 'true';
    return c.json(await copyObject(objects, await callerOf(c), from, to, { upsert }));
  });
  app.post('/object/move', async (c) => {
    const { from, to } = asPair(await readBody(c, bodies.move));
    await moveObject(objects, await callerOf(c), from, to);
    return c.json({ message: 'Successfully moved' });
  });

  app.post('/object/sign/:bucket/:key{.+}', async (c) => {
    const { expiresIn } = await readBody(c, bodies.sign);
    const caller = await callerOf(c);
    const { bucket, key } = placeOf(c);
    await getObject(sessions, caller, bucket, key);
    return c.json({ signedURL: await signDownload(bucket, key, expiresIn) });
  });
  app.post('/object/sign/:bucket', async (c) => {
    const { expiresIn, paths } = await readBody(c, bodies.signMany);
    const caller = await callerOf(c);
    const bucket = c.req.param('bucket');
    const signed = [];
    for (const path of paths) {
      const found = await getObject(sessions, caller, bucket, path).catch(noneIfMissing);
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

  const nobody = async () => null;
  const anybody = (c: Context) => sessions.recognize(c.req.header('authorization'));
  app.get('/object/info/public/:bucket/:key{.+}', (c) => info(c, nobody));
  app.on(['GET', 'HEAD'], '/object/info/authenticated/:bucket/:key{.+}', (c) => info(c, callerOf));
  app.on(['GET', 'HEAD'], '/object/info/:bucket/:key{.+}', (c) => info(c, anybody));
  app.get('/object/public/:bucket/:key{.+}', (c) => download(c, nobody));
  app.get('/object/authenticated/:bucket/:key{.+}', (c) => download(c, callerOf));
  app.get('/object/:bucket/:key{.+}', (c) => download(c, anybody));
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
    const { prefixes } = await readBody(c, bodies.remove);
    const caller = await callerOf(c);
    const removed = await removeObjects(objects, caller, c.req.param('bucket'), prefixes);
    return c.json(removed.map(printObject));
  });

  app.all('/upload/resumable', tus);
  app.all('/upload/resumable/*', tus);

  return app;

  /** Finds what is asked for: of a public bucket for anybody, else as the caller may. */
  async function read(c: Context, ask: (c: Context) => Promise<Caller | null>): Promise<ObjectRow> {
    const { bucket, key } = placeOf(c);
    const caller = await ask(c);
    const found = await findBucket(sessions, bucket);
    if (found?.public === true) return getObject(sessions, null, bucket, key);
    // To nobody a bucket that is not public is not there.
    if (found === null || caller === null) throw problems.noSuchBucket();
    return getObject(sessions, caller, bucket, key);
  }

  async function info(c: Context, ask: (c: Context) => Promise<Caller | null>): Promise<Response> {
    const row = await read(c, ask);
    c.header('etag', row.metadata.eTag);
    c.header('cache-control', row.metadata.cacheControl);
    c.header('last-modified', new Date(row.metadata.lastModified).toUTCString());
    return c.json(printInfo(row));
  }

  async function download(
    c: Context,
    ask: (c: Context) => Promise<Caller | null>,
  ): Promise<Response> {
    const row = await read(c, ask);
    return respondWithObject(blobs, row, { request: c.req.raw, download: c.req.query('download') });
  }

  async function upload(c: Context, upsert: boolean): Promise<Response> {
    const caller = await callerOf(c);
    const { object, body, contentLength } = await readUpload(c, caller.sub);
    return c.json(await putObject(objects, caller, object, { upsert, contentLength }, body));
  }

  async function tus(c: Context): Promise<Response> {
    return resumable.handle(c.req.raw);
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

function encodeKey(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}

function asPair({ bucketId, sourceKey, destinationBucket, destinationKey }: PairInput) {
  return {
    from: { bucket: bucketId, key: sourceKey },
    to: { bucket: destinationBucket ?? bucketId, key: destinationKey },
  };
}

/** What is missing is said of each key; what fails otherwise, of all. */
function noneIfMissing(error: unknown): null {
  if (error instanceof StorageProblem && error.code === 'NoSuchKey') return null;
  throw error;
}
