/**
 * What the agent and the functions rely on in Supabase Storage. Runs against the embedded stack in
 * `npm test`, and against a real one with `npm run test:conformance -- --url URL --service-key KEY`.
 * Everything is in a bucket of its own, which goes at the end.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createClient } from '@supabase/supabase-js';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

const CHUNK_BYTES = 6 * 1024 * 1024;
const TYPE = 'application/gzip';

const { url, key } = inject('conformance');
// By the key of a host alone this suite is not run.
const serviceKey = key!;
const bucket = `conformance-${randomUUID()}`;
const { storage } = createClient(url, serviceKey, { auth: { persistSession: false } });
const files = storage.from(bucket);
const headers = { authorization: `Bearer ${serviceKey}`, apikey: serviceKey };

beforeAll(async () => {
  expect((await storage.createBucket(bucket, { public: false })).error).toBeNull();
});

afterAll(async () => {
  for (const folder of await everyFolder('')) {
    for (;;) {
      const { data } = await files.list(folder, { limit: 1000 });
      const keys = (data ?? [])
        .filter((item) => item.id !== null)
        .map((item) => (folder === '' ? item.name : `${folder}/${item.name}`));
      if (keys.length === 0) break;
      await files.remove(keys);
    }
  }
  expect((await storage.deleteBucket(bucket)).error).toBeNull();
});

describe('a bucket', () => {
  test('is private, and is made once', async () => {
    expect((await storage.getBucket(bucket)).data).toMatchObject({ public: false });
    expect((await storage.createBucket(bucket)).error).toMatchObject({ statusCode: '409' });
    const key = await put('private.bin', randomBytes(10));
    expect((await fetch(files.getPublicUrl(key).data.publicUrl)).ok).toBe(false);
  });

  test('that is missing is told from an object that is', async () => {
    const missing = storage.from(`none-${randomUUID()}`);
    const uploaded = await missing.upload('a/b.bin', Buffer.from('x'));
    expect(uploaded.error).toMatchObject({ statusCode: '404' });
    expect(uploaded.error?.message).toMatch(/bucket not found/i);
    const found = await files.info('nothing/here.bin');
    expect(found.error).toMatchObject({ statusCode: '404' });
    expect(found.error?.message).not.toMatch(/bucket/i);
  });
});

describe('put', () => {
  test('stores bytes, type and metadata, and stat gives them back', async () => {
    const bytes = randomBytes(100_000);
    const sha256 = hash('sha256', bytes);
    const key = await put('stat.tar.gz', bytes, { metadata: { sha256 } });
    const { data } = await files.info(key);
    expect(data).toMatchObject({ size: bytes.length, contentType: TYPE, metadata: { sha256 } });
    expect(data?.etag).toBeTruthy();
    expect(hash('sha256', await get(key))).toBe(sha256);
  });

  test('without upsert never replaces what is there', async () => {
    const key = await put('once.bin', Buffer.from('first'));
    const again = await files.upload(key, Buffer.from('second'), { upsert: false });
    expect(again.error).toMatchObject({ statusCode: '409' });
    expect((await get(key)).toString()).toBe('first');
  });

  test('of an empty object is stored too', async () => {
    const key = await put('empty.bin', Buffer.alloc(0));
    expect((await files.info(key)).data).toMatchObject({ size: 0 });
    expect((await get(key)).length).toBe(0);
  });

  test('of a key with characters that no key has is refused', async () => {
    for (const name of ['caf\u00e9.bin', 'a%b.bin', 'a~b.bin']) {
      const response = await fetch(
        `${url}/storage/v1/object/${bucket}/${encodeURIComponent(name)}`,
        {
          method: 'POST',
          headers,
          body: 'x',
        },
      );
      expect(await response.json(), name).toMatchObject({ statusCode: '400' });
    }
  });
});

describe('get', () => {
  test('of a range gives that part, and its eTag is that of stat', async () => {
    const bytes = randomBytes(1000);
    const key = await put('range.bin', bytes);
    const range = (header: string) =>
      fetch(`${url}/storage/v1/object/${bucket}/${key}`, {
        headers: { ...headers, range: header },
      });
    for (const [header, from, to] of [
      ['bytes=10-19', 10, 20],
      ['bytes=990-', 990, 1000],
      ['bytes=-5', 995, 1000],
      ['bytes=998-5000', 998, 1000],
    ] as const) {
      const response = await range(header);
      expect(response.status, header).toBe(206);
      expect(response.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/1000`);
      expect(Buffer.from(await response.arrayBuffer())).toEqual(bytes.subarray(from, to));
    }
    expect((await range('bytes=1000-')).status).toBe(416);
    const whole = await fetch(`${url}/storage/v1/object/${bucket}/${key}`, { headers });
    const strip = (etag: string | null | undefined) =>
      etag?.replaceAll('"', '').replace(/^W\//, '');
    expect(strip(whole.headers.get('etag'))).toBe(strip((await files.info(key)).data?.etag));
    await whole.body?.cancel();
  });

  test('of what is missing is not found, by whatever way', async () => {
    const key = `none/${randomUUID()}`;
    expect((await files.exists(key)).data).toBe(false);
    expect((await files.info(key)).error).toMatchObject({ statusCode: '404' });
    const response = await fetch(`${url}/storage/v1/object/${bucket}/${key}`, { headers });
    expect(await response.json()).toMatchObject({ statusCode: '404' });
  });
});

describe('get again', () => {
  test('of what is known is 304, by eTag and by time; of several ranges it is refused', async () => {
    const key = await put('known.bin', randomBytes(100));
    const ask = (more: Record<string, string>) =>
      fetch(`${url}/storage/v1/object/${bucket}/${key}`, { headers: { ...headers, ...more } });
    const first = await ask({});
    await first.arrayBuffer();
    const known = { 'if-none-match': first.headers.get('etag')! };
    expect((await ask(known)).status).toBe(304);
    const later = new Date(Date.parse(first.headers.get('last-modified')!) + 60_000);
    expect((await ask({ 'if-modified-since': later.toUTCString() })).status).toBe(304);
    const other = await ask({ 'if-none-match': '"other"' });
    expect([other.status, (await other.arrayBuffer()).byteLength]).toEqual([200, 100]);
    expect((await ask({ range: 'bytes=0-0,5-6' })).status).toBe(416);
  });
});

describe('list', () => {
  test('goes by pages, by prefix, and tells folders from objects', async () => {
    const folder = `list-${randomUUID()}`;
    const names = Array.from({ length: 25 }, (_, i) => `v${i + 1}__g.tar.gz`);
    await Promise.all(names.map((name) => put(`${folder}/${name}`, Buffer.from(name), {}, true)));
    await put(`${folder}/inner/x.bin`, Buffer.from('x'), {}, true);
    const seen: string[] = [];
    for (let offset = 0; ; offset += 10) {
      const sortBy = { column: 'name', order: 'asc' };
      const { data } = await files.list(folder, { limit: 10, offset, sortBy });
      seen.push(...data!.map((item) => item.name));
      if (data!.length < 10) break;
    }
    expect(seen.length).toBe(26);
    expect(new Set(seen)).toEqual(new Set([...names, 'inner']));
    const { data } = await files.list(folder, { search: 'v2__' });
    expect(data).toMatchObject([{ name: 'v2__g.tar.gz', metadata: { size: 12 } }]);
    const inner = (await files.list(folder, { search: 'inner' })).data;
    expect(inner).toMatchObject([{ name: 'inner', id: null }]);
    expect((await files.list(`none-${randomUUID()}`)).data).toEqual([]);
  });
});

describe('remove', () => {
  test('takes what is there, and may be repeated', async () => {
    const key = await put('gone.bin', Buffer.from('x'));
    expect((await files.remove([key, 'never/there'])).data).toMatchObject([{ name: key }]);
    expect((await files.remove([key])).data).toEqual([]);
    expect((await files.info(key)).error).toMatchObject({ statusCode: '404' });
  });
});

describe('sign', () => {
  test('gives a URL that needs no token, with ranges and a file name', async () => {
    const bytes = randomBytes(100);
    const key = await put('signed.tar.gz', bytes);
    const { data } = await files.createSignedUrl(key, 60, { download: 'shop-v1.tar.gz' });
    const response = await fetch(data!.signedUrl);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-disposition')).toContain('shop-v1.tar.gz');
    expect(Buffer.from(await response.arrayBuffer())).toEqual(bytes);
    const part = await fetch(data!.signedUrl, { headers: { range: 'bytes=0-4' } });
    expect([part.status, Buffer.from(await part.arrayBuffer())]).toEqual([
      206,
      bytes.subarray(0, 5),
    ]);
  });

  test('is for one key, until the object is gone', async () => {
    const [one, other] = [
      await put('one.bin', Buffer.from('1')),
      await put('other.bin', Buffer.from('2')),
    ];
    const signed = (await files.createSignedUrl(one, 60)).data!.signedUrl;
    const stolen = await fetch(signed.replace(one, other));
    expect(stolen.ok).toBe(false);
    await stolen.body?.cancel();
    const forged = await fetch(`${signed.slice(0, -4)}AAAA`);
    expect(forged.ok).toBe(false);
    await forged.body?.cancel();
    await files.remove([one]);
    expect(await (await fetch(signed)).json()).toMatchObject({ statusCode: '404' });
    expect((await files.createSignedUrl(one, 60)).error).toMatchObject({ statusCode: '404' });
  });
});

describe('a signed upload', () => {
  test('is for exactly one key, once, and needs nothing else', async () => {
    const key = `${randomUUID()}/signed-upload.tar.gz`;
    const { data } = await files.createSignedUploadUrl(key);
    const metadata = Buffer.from('{"sha256":"abc"}').toString('base64');
    const send = (target: string) =>
      fetch(target, {
        method: 'PUT',
        headers: { 'content-type': TYPE, 'x-metadata': metadata },
        body: 'signed',
      });
    const elsewhere = await send(data!.signedUrl.replace(key, `${key}.other`));
    expect(await elsewhere.json()).toMatchObject({ error: 'InvalidSignature' });
    expect((await send(data!.signedUrl)).status).toBe(200);
    expect((await files.info(key)).data).toMatchObject({ size: 6, metadata: { sha256: 'abc' } });
    expect(await (await send(data!.signedUrl)).json()).toMatchObject({ statusCode: '409' });
  });

  test('goes in chunks too, by the signature alone', async () => {
    const key = `${randomUUID()}/signed-chunks.tar.gz`;
    const { data } = await files.createSignedUploadUrl(key);
    const signature = { 'tus-resumable': '1.0.0', 'x-signature': data!.token };
    const create = (name: string) =>
      fetch(`${url}/storage/v1/upload/resumable/sign`, {
        method: 'POST',
        headers: { ...signature, 'upload-length': '6', 'upload-metadata': tusMetadata(name) },
      });
    const other = await create(`${key}.other`);
    expect([other.status, await other.text()]).toEqual([400, 'Invalid signature']);
    const begun = await create(key);
    expect(begun.status).toBe(201);
    const name = begun.headers.get('location')!.split('/').at(-1);
    const upload = `${url}/storage/v1/upload/resumable/sign/${name}`;
    const sent = await fetch(upload, {
      method: 'PATCH',
      headers: {
        ...signature,
        'upload-offset': '0',
        'content-type': 'application/offset+octet-stream',
      },
      body: 'chunks',
    });
    expect(sent.status).toBe(204);
    const head = await fetch(upload, { method: 'HEAD', headers: signature });
    // Another server has forgotten it: whether the object is there says only the object.
    expect([200, 404, 410]).toContain(head.status);
    expect((await get(key)).toString()).toBe('chunks');
  });
});

describe('resume', () => {
  test('an upload in chunks goes on where it ended, and is seen when it is whole', async () => {
    const bytes = randomBytes(CHUNK_BYTES + 1_000_000);
    const key = `${randomUUID()}/chunks.tar.gz`;
    const upload = await createUpload(key, bytes.length, { sha256: hash('sha256', bytes) });
    expect(await append(upload, 0, bytes.subarray(0, CHUNK_BYTES))).toMatchObject({ status: 204 });
    expect((await files.info(key)).error).toMatchObject({ statusCode: '404' });

    const head = await fetch(upload, { method: 'HEAD', headers: tusHeaders });
    expect(head.headers.get('upload-offset')).toBe(String(CHUNK_BYTES));
    expect(await append(upload, 0, bytes.subarray(0, 100))).toMatchObject({ status: 409 });
    const rest = bytes.subarray(CHUNK_BYTES);
    expect(await append(upload, CHUNK_BYTES, rest)).toMatchObject({ status: 204 });

    const { data } = await files.info(key);
    expect(data).toMatchObject({ size: bytes.length, contentType: TYPE });
    expect(data?.metadata).toMatchObject({ sha256: hash('sha256', bytes) });
    expect(hash('sha256', await get(key))).toBe(hash('sha256', bytes));
  });

  test('an upload whose name cannot be read is refused', async () => {
    const response = await fetch(`${url}/storage/v1/upload/resumable/garbage`, {
      method: 'HEAD',
      headers: tusHeaders,
    });
    expect(response.status).toBe(400);
  });

  test('an upload that is larger than any may be is refused before a byte is sent', async () => {
    const response = await fetch(`${url}/storage/v1/upload/resumable`, {
      method: 'POST',
      headers: {
        ...tusHeaders,
        'upload-length': String(2 ** 52),
        'upload-metadata': tusMetadata(`${randomUUID()}/huge.bin`),
      },
    });
    expect([response.status, await response.text()]).toEqual([413, 'Maximum size exceeded\n']);
  });

  test('an upload that the server does not know is not found', async () => {
    const name = Buffer.from(`${bucket}/none/${randomUUID()}`).toString('base64url');
    const response = await fetch(`${url}/storage/v1/upload/resumable/${name}`, {
      method: 'HEAD',
      headers: tusHeaders,
    });
    expect([403, 404, 410]).toContain(response.status);
  });
});

describe('errors', () => {
  test('say the real status in the body', async () => {
    const response = await fetch(`${url}/storage/v1/object/${bucket}/none.bin`, { headers });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ statusCode: '404' });
  });

  test.each([
    ['garbage', 'garbage'],
    ['forged', `${encode({ alg: 'HS256' })}.${encode({ role: 'service_role' })}.c2lnbmF0dXJl`],
  ])('a %s token is nobody: what it asks for is not there', async (_, token) => {
    const key = await put('hidden.bin', Buffer.from('x'));
    for (const path of [`object/${bucket}/${key}`, `object/info/${bucket}/${key}`]) {
      const response = await fetch(`${url}/storage/v1/${path}`, {
        headers: { authorization: `Bearer ${token}`, apikey: serviceKey },
      });
      expect(response.status, path).toBe(400);
      expect(await response.json(), path).toMatchObject({ statusCode: '404' });
    }
    // What needs a role says that it is none.
    const listed = await fetch(`${url}/storage/v1/bucket/${bucket}`, {
      headers: { authorization: `Bearer ${token}`, apikey: serviceKey },
    });
    expect(await listed.json()).toMatchObject({ statusCode: '403' });
  });

  test.each([
    ['list', 'POST', `object/list/${bucket}`, { prefix: '', limit: 0 }, 'limit'],
    ['list', 'POST', `object/list/${bucket}`, { prefix: '', offset: -1 }, 'offset'],
    ['sign', 'POST', `object/sign/${bucket}/x`, { expiresIn: 0 }, 'expiresIn'],
    ['remove', 'DELETE', `object/${bucket}`, { prefixes: [] }, 'prefixes'],
    ['a bucket', 'POST', 'bucket', { name: 'a/b' }, 'Bucket name'],
  ])('%s says which input cannot be: %s %s %j', async (_, method, path, body, name) => {
    const response = await fetch(`${url}/storage/v1/${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(400);
    const answer = await response.json();
    expect(answer).toMatchObject({ statusCode: '400', message: expect.stringContaining(name) });
  });

  test('without a token nothing is given', async () => {
    const key = await put('closed.bin', Buffer.from('x'));
    const response = await fetch(`${url}/storage/v1/object/${bucket}/${key}`);
    expect(response.ok).toBe(false);
    await response.body?.cancel();
  });
});

const tusHeaders = { ...headers, 'tus-resumable': '1.0.0' };

/** Stores bytes under a key that no other test uses, unless it is given whole. */
async function put(
  name: string,
  bytes: Buffer,
  options: { metadata?: Record<string, unknown> } = {},
  isWhole = false,
): Promise<string> {
  const key = isWhole ? name : `${randomUUID()}/${name}`;
  const { error } = await files.upload(key, bytes, {
    contentType: TYPE,
    upsert: false,
    ...options,
  });
  expect(error).toBeNull();
  return key;
}

async function get(key: string): Promise<Buffer> {
  const { data, error } = await files.download(key);
  expect(error).toBeNull();
  return Buffer.from(await data!.arrayBuffer());
}

function tusMetadata(key: string, metadata: Record<string, string> = {}): string {
  const fields = {
    bucketName: bucket,
    objectName: key,
    contentType: TYPE,
    metadata: JSON.stringify(metadata),
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
    .join(',');
}

async function createUpload(key: string, length: number, metadata: Record<string, string>) {
  const response = await fetch(`${url}/storage/v1/upload/resumable`, {
    method: 'POST',
    headers: {
      ...tusHeaders,
      'upload-length': String(length),
      'upload-metadata': tusMetadata(key, metadata),
      'x-upsert': 'false',
    },
  });
  expect(response.status).toBe(201);
  return `${url}/storage/v1/upload/resumable/${response.headers.get('location')!.split('/').at(-1)}`;
}

async function append(upload: string, offset: number, chunk: Buffer): Promise<Response> {
  return fetch(upload, {
    method: 'PATCH',
    headers: {
      ...tusHeaders,
      'upload-offset': String(offset),
      'content-type': 'application/offset+octet-stream',
    },
    body: new Uint8Array(chunk),
  });
}

function encode(json: unknown): string {
  return Buffer.from(JSON.stringify(json)).toString('base64url');
}

function hash(algorithm: string, bytes: Buffer): string {
  return createHash(algorithm).update(bytes).digest('hex');
}

/** Every folder below one, and that one. */
async function everyFolder(folder: string): Promise<string[]> {
  const found = [folder];
  for (let offset = 0; ; offset += 1000) {
    const { data } = await files.list(folder, { limit: 1000, offset });
    for (const item of (data ?? []).filter((each) => each.id === null)) {
      found.push(...(await everyFolder(folder === '' ? item.name : `${folder}/${item.name}`)));
    }
    if ((data ?? []).length < 1000) return found;
  }
}
