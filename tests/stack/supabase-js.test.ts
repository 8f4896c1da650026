/** Unchanged supabase-js against the embedded stack, through its own methods. */
import { randomBytes, randomUUID } from 'node:crypto';
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { startStack } from '../../supabase/embedded/stack.ts';
import { serviceClient, signToken, uniqueId, userClient } from '../support/cloud.ts';

let service: SupabaseClient;
let bucket: string;
const files = () => service.storage.from(bucket);

beforeAll(async () => {
  service = serviceClient();
  bucket = uniqueId('bucket');
  expect((await service.storage.createBucket(bucket, { public: false })).error).toBeNull();
});

test.each(['ES256', 'HS256'])(
  'REST allows half a minute for clocks that differ, by %s',
  async (kind) => {
    const ask = async (expiresIn: number) => {
      const { JWT_SECRET: secret } = inject('stack');
      const options = kind === 'ES256' ? { expiresIn } : { expiresIn, secret };
      const user = { id: randomUUID(), token: await signToken({ sub: randomUUID() }, options) };
      const { status, error } = await userClient(user).from('storage_projects').select();
      return [status, error?.message];
    };
    expect(await ask(-10)).toEqual([200, undefined]);
    expect(await ask(-60)).toEqual([401, 'JWT expired']);
  },
);

test('Auth: sign-up, sign-in, the user, sign-out', async () => {
  const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY } = inject('stack');
  const client = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, {
    auth: { persistSession: false },
  });
  const credentials = { email: `${randomUUID()}@example.com`, password: 'correct-horse' };
  expect((await client.auth.signUp(credentials)).error).toBeNull();
  expect((await client.auth.signOut()).error).toBeNull();
  expect((await client.auth.signInWithPassword(credentials)).error).toBeNull();
  expect((await client.auth.getUser()).data.user?.email).toBe(credentials.email);
  expect((await client.from('storage_projects').select()).data).toEqual([]);
  const wrong = await client.auth.signInWithPassword({ ...credentials, password: 'wrong' });
  expect(wrong.error?.status).toBe(400);
});

describe('Storage', () => {
  test('buckets: get, list, update, limits, empty, delete', async () => {
    const name = uniqueId('limited');
    const { storage } = service;
    await storage.createBucket(name, {
      public: false,
      fileSizeLimit: '1KB',
      allowedMimeTypes: ['text/*'],
    });
    expect((await storage.getBucket(name)).data).toMatchObject({ file_size_limit: 1000 });
    expect((await storage.listBuckets()).data?.map((each) => each.name)).toContain(name);
    const plain = { contentType: 'text/plain' };
    const into = storage.from(name);
    expect((await into.upload('a', randomBytes(1001), plain)).error).toMatchObject({
      statusCode: '413',
    });
    expect((await into.upload('a', 'x', { contentType: 'image/png' })).error).toMatchObject({
      statusCode: '415',
    });
    expect((await into.upload('a', 'x', plain)).error).toBeNull();
    expect((await storage.deleteBucket(name)).error).toMatchObject({ statusCode: '409' });
    expect((await storage.updateBucket(name, { public: true })).error).toBeNull();
    expect((await fetch(into.getPublicUrl('a').data.publicUrl)).status).toBe(200);
    expect((await storage.emptyBucket(name)).error).toBeNull();
    expect((await storage.deleteBucket(name)).error).toBeNull();
    expect((await storage.getBucket(name)).error).toMatchObject({ statusCode: '404' });
  });

  test.each<[string, () => Parameters<ReturnType<typeof files>['upload']>[1]]>([
    ['a Buffer', () => Buffer.from('content')],
    ['a string', () => 'content'],
    ['a Blob', () => new Blob(['content'], { type: 'text/plain' })],
    ['a stream', () => new Blob(['content']).stream()],
    [
      'a form',
      () => {
        const form = new FormData();
        form.append('', new Blob(['content'], { type: 'text/plain' }));
        return form;
      },
    ],
  ])('upload of %s, download, metadata, upsert', async (_, make) => {
    const key = `${randomUUID()}/a.txt`;
    const options = { contentType: 'text/plain', duplex: 'half', metadata: { sha256: 'abc' } };
    const uploaded = await files().upload(key, make(), options);
    expect(uploaded).toMatchObject({
      error: null,
      data: { path: key, fullPath: `${bucket}/${key}` },
    });
    expect(await (await files().download(key)).data?.text()).toBe('content');
    expect((await files().info(key)).data).toMatchObject({ size: 7, metadata: { sha256: 'abc' } });
    expect((await files().upload(key, 'again')).error).toMatchObject({ statusCode: '409' });
    expect((await files().upload(key, 'again', { upsert: true })).error).toBeNull();
    // An upsert that says no metadata clears it.
    expect((await files().info(key)).data).toMatchObject({ size: 5, metadata: {} });
    expect((await files().update(key, 'third')).error).toBeNull();
  });

  test('download in part, past the end, as a stream, and not again what is known', async () => {
    const key = `${randomUUID()}.bin`;
    await files().upload(key, Buffer.from('0123456789'));
    const { data } = await files().createSignedUrl(key, 60);
    const get = (headers: Record<string, string>) => fetch(data!.signedUrl, { headers });
    const part = await get({ range: 'bytes=2-4' });
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
      206,
      'bytes 2-4/10',
      '234',
    ]);
    expect((await get({ range: 'bytes=10-' })).status).toBe(416);
    const etag = part.headers.get('etag')!;
    expect((await get({ 'if-none-match': etag })).status).toBe(304);
    expect((await get({ 'if-none-match': '"other"' })).status).toBe(200);
    const stream = await files().download(key).asStream();
    expect(await new Response(stream.data).text()).toBe('0123456789');
  });

  test('exists, list with search and paging, listV2 with cursor and folders', async () => {
    const root = randomUUID();
    for (const name of ['a.txt', 'b.txt', 'c.txt', 'sub/d.txt', 'sub/deep/e.txt']) {
      await files().upload(`${root}/${name}`, name);
    }
    expect((await files().exists(`${root}/a.txt`)).data).toBe(true);
    expect((await files().exists(`${root}/nope`)).data).toBe(false);
    const names = async (options: object) =>
      (await files().list(root, options)).data?.map((each) => each.name);
    expect(await names({})).toEqual(['a.txt', 'b.txt', 'c.txt', 'sub']);
    expect(await names({ limit: 2, offset: 1 })).toEqual(['b.txt', 'c.txt']);
    expect(await names({ search: 'b' })).toEqual(['b.txt']);
    expect(await names({ sortBy: { column: 'name', order: 'desc' } })).toEqual([
      'sub',
      'c.txt',
      'b.txt',
      'a.txt',
    ]);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const { data } = await files().listV2({
        prefix: `${root}/`,
        limit: 2,
        with_delimiter: true,
        ...(cursor === undefined ? {} : { cursor }),
      });
      seen.push(
        ...data!.objects.map((each) => each.name),
        ...data!.folders.map((each) => each.name),
      );
      cursor = data!.nextCursor;
    } while (cursor !== undefined);
    expect(seen).toEqual(['a.txt', 'b.txt', 'c.txt', 'sub/'].map((name) => `${root}/${name}`));
    const flat = await files().listV2({ prefix: root });
    expect(flat.data?.objects).toHaveLength(5);
  });

  test('move, copy, remove', async () => {
    const root = randomUUID();
    await files().upload(`${root}/a`, 'a');
    expect((await files().copy(`${root}/a`, `${root}/b`)).error).toBeNull();
    expect((await files().move(`${root}/a`, `${root}/c`)).error).toBeNull();
    expect((await files().copy(`${root}/b`, `${root}/c`)).error).toMatchObject({
      statusCode: '409',
    });
    const removed = await files().remove([`${root}/b`, `${root}/c`, `${root}/nope`]);
    expect(removed.data?.map((each) => each.name).sort()).toEqual([`${root}/b`, `${root}/c`]);
    expect((await files().download(`${root}/c`)).error).not.toBeNull();
  });

  test('sign one, many, and an upload', async () => {
    const root = randomUUID();
    await files().upload(`${root}/a`, 'a');
    const one = await files().createSignedUrl(`${root}/a`, 60, { download: 'app.txt' });
    const answer = await fetch(one.data!.signedUrl);
    expect(answer.headers.get('content-disposition')).toContain("filename*=UTF-8''app.txt");
    const many = await files().createSignedUrls([`${root}/a`, `${root}/nope`], 60);
    expect(many.data?.map((each) => each.error)).toEqual([
      null,
      'Either the object does not exist or you do not have access to it',
    ]);
    const upload = await files().createSignedUploadUrl(`${root}/b`);
    const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY } = inject('stack');
    const anyone = createClient(SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY).storage.from(bucket);
    const put = () => anyone.uploadToSignedUrl(`${root}/b`, upload.data!.token, 'b');
    expect((await put()).error).toBeNull();
    expect((await put()).error).toMatchObject({ statusCode: '409' });
    expect(await (await files().download(`${root}/b`)).data?.text()).toBe('b');
  });

  test('rows go only with their bytes: SQL cannot delete them', async () => {
    const stack = await startStack({ port: 0, functions: false });
    try {
      await expect(stack.database.pg.exec('delete from storage.objects')).rejects.toThrow(
        'Use the Storage API instead',
      );
    } finally {
      await stack.close();
    }
  });

  test('a body that says no length is still held to the limit', async () => {
    const name = uniqueId('limited');
    await service.storage.createBucket(name, { public: false, fileSizeLimit: 1000 });
    const { SUPABASE_URL, SUPABASE_SERVICE_KEY } = inject('stack');
    const answer = await fetch(`${SUPABASE_URL}/storage/v1/object/${name}/a`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SUPABASE_SERVICE_KEY}` },
      body: new Blob([randomBytes(5000)]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(await answer.json()).toMatchObject({ statusCode: '413' });
    expect((await service.storage.from(name).exists('a')).data).toBe(false);
  });
});
