/**
 * What a replica does, the same for each kind: by the S3 protocol (ours in this process, and moto where that is
 * installed), and by the API of Supabase.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwsClient } from 'aws4fetch';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { connectReplica } from '../../node-agent/replicas/connect-replica.ts';
import type { Replica } from '../../node-agent/replicas/replica.ts';
import type { ReplicaObjects } from '../../node-agent/replicas/replica-objects.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { type FakeS3, startFakeS3 } from '../support/fake-s3.ts';

type Backend = Readonly<{ replica: Replica; close: () => Promise<unknown> }>;

const ended = new AbortController();
const folder = mkdtempSync(join(tmpdir(), 'codebegen-test-'));
afterAll(async () => {
  ended.abort();
  await rm(folder, { recursive: true, force: true });
});
let paths = 0;
const newPath = () => join(folder, String(paths++));

async function collect<T>(given: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of given) all.push(one);
  return all;
}

const hasMoto = (() => {
  try {
    execFileSync('python3', ['-c', 'import moto.server'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

async function keyFile(text: string): Promise<string> {
  const file = newPath();
  await writeFile(file, `${text}\n`, { mode: 0o600 });
  return file;
}

const replicaOf = async (fake: FakeS3, bucket: string, more = {}): Promise<Replica> => ({
  ...{ kind: 's3', name: 'far', url: fake.url, region: fake.region, bucket, keyId: fake.keyId },
  keyFile: await keyFile(fake.secret),
  ...more,
});

async function ours(): Promise<Backend> {
  const fake = await startFakeS3();
  fake.buckets.set('copies', new Map());
  return { replica: await replicaOf(fake, 'copies'), close: fake.close };
}

async function moto(): Promise<Backend> {
  const port = await freePort();
  // As S3 does, and as its own command does not, it keeps connections open.
  const program =
    'from werkzeug.serving import WSGIRequestHandler as H; H.protocol_version = "HTTP/1.1"; from moto.server import main; main()';
  const given = ['-c', program, '-H', '127.0.0.1', '-p', String(port)];
  const server = spawn('python3', given, { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  const keys = { accessKeyId: 'AKIAMOTO', secretAccessKey: 'secret' };
  const client = new AwsClient({ ...keys, service: 's3', region: 'us-east-1', retries: 0 });
  const make = () =>
    client.fetch(`${url}/copies`, { method: 'PUT' }).then(
      (got) => got.ok,
      () => false,
    );
  await vi.waitUntil(make, { timeout: 60_000 });
  const named = { kind: 's3', name: 'far', url, bucket: 'copies', keyId: 'AKIAMOTO' } as const;
  const replica = { ...named, region: 'us-east-1', keyFile: await keyFile('secret') };
  const close = async () => {
    server.kill();
    await once(server, 'exit');
  };
  return { replica, close };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

async function supabase(): Promise<Backend> {
  const bucket = uniqueId('copies');
  await serviceClient().storage.createBucket(bucket, { public: false });
  const { SUPABASE_URL: url, SUPABASE_SECRET_KEY: secret } = inject('stack');
  const file = await keyFile(secret);
  const named = { kind: 'supabase', name: 'far', url, bucket, region: 'x' } as const;
  return { replica: { ...named, keyFile: file }, close: async () => {} };
}

/** An archive on disk. */
async function archiveOf(bytes: Buffer) {
  const path = newPath();
  await writeFile(path, bytes);
  const of = (name: string) => createHash(name).update(bytes).digest('hex');
  return { path, bytes: bytes.length, sha256: of('sha256'), md5: of('md5') };
}

describe.each([
  ['S3, ours', ours, true],
  // It asks nobody for a key, and passes over what a URL says of headers.
  ['S3, moto', moto, hasMoto],
  ['Supabase', supabase, true],
] as const)('%s', (name, start, isThere) => {
  const isMoto = name === 'S3, moto';
  describe.skipIf(!isThere)('keeps copies', () => {
    let backend: Backend;
    let objects: ReplicaObjects;
    beforeAll(async () => {
      backend = await start();
      objects = await connectReplica(backend.replica, ended.signal);
    });
    afterAll(() => backend?.close());

    test.skipIf(isMoto)('is tried, and left as it was', async () => {
      await objects.check();
      expect(await collect(objects.listProjects(null))).toEqual([]);
    });

    test.each([
      ['of a few bytes', 100],
      ['in parts', 7 * 1024 * 1024],
    ])('keeps an archive, %s, and gives it back', async (_, size) => {
      const archive = await archiveOf(randomBytes(size));
      const key = `shop-${size}/generations/v1__g.tar.gz`;
      expect(await objects.info(key)).toBeNull();
      expect(await objects.put(key, archive)).toBe(true);
      expect(await objects.put(key, archive), 'it is there').toBe(false);
      expect(await objects.info(key)).toMatchObject({ bytes: size, sha256: archive.sha256 });
      // Node's fetch may fail where a server ends the connection right after many bytes: it is tried again, as ever.
      const read = () => objects.readBack(key);
      expect(await vi.waitFor(read, { timeout: 30_000 })).toBe(archive.sha256);
      const file = newPath();
      const download = () => rm(file, { force: true }).then(() => objects.download(key, file));
      expect((await vi.waitFor(download, { timeout: 30_000 })).sha256).toBe(archive.sha256);
      expect(await readFile(file)).toEqual(await readFile(archive.path));
      const url = await objects.sign(key, 60, 'shop-v1.tar.gz');
      const [got, body] = await vi.waitFor(
        async () => {
          const answer = await fetch(url);
          return [answer, Buffer.from(await answer.arrayBuffer())] as const;
        },
        { timeout: 30_000 },
      );
      expect(got.status).toBe(200);
      if (!isMoto) expect(got.headers.get('content-disposition')).toContain('shop-v1.tar.gz');
      expect(body).toEqual(await readFile(archive.path));
      await objects.remove(key);
      await objects.remove(key);
      expect(await objects.info(key)).toBeNull();
      await expect(objects.download(key, `${file}2`)).rejects.toMatchObject({ code: 'not_found' });
      await expect(objects.readBack(key)).rejects.toMatchObject({ code: 'not_found' });
    });

    test('does not write over other bytes', async () => {
      const key = 'shop/generations/v2__g.tar.gz';
      const [one, other] = [await archiveOf(randomBytes(50)), await archiveOf(randomBytes(50))];
      await objects.put(key, one);
      await expect(objects.put(key, other)).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining('replica "far"'),
      });
      expect(await objects.readBack(key)).toBe(one.sha256);
      await objects.remove(key);
    });

    test('keeps texts', async () => {
      const key = 'shop/project.json';
      expect(await objects.readText(key)).toBeNull();
      for (const text of ['{"a": 1}\n', '{"é": 2}\n']) {
        await objects.putText(key, text);
        expect(await objects.readText(key)).toBe(text);
      }
      await objects.remove(key);
    });

    test('lists projects, and the archives of one', async () => {
      const archive = await archiveOf(randomBytes(9));
      const keys = [
        'a/generations/v1__g.tar.gz',
        'a/generations/v2__g.tar.gz',
        'b/generations/v1__g.tar.gz',
      ];
      for (const key of keys) await objects.put(key, archive);
      expect((await collect(objects.listProjects(null))).sort()).toEqual(['a', 'b']);
      expect(await collect(objects.listProjects('c'))).toEqual(['c']);
      const listed = await collect(objects.listArchives('a'));
      expect(listed.map(({ key, bytes }) => [key, bytes])).toEqual([
        [keys[0], 9],
        [keys[1], 9],
      ]);
      expect(Date.parse(listed[0]!.createdAt)).toBeGreaterThan(Date.now() - 3_600_000);
      expect(await collect(objects.listArchives('c'))).toEqual([]);
      for (const key of keys) await objects.remove(key);
    });

    test('a bucket that is not there is named', async () => {
      const replica = { ...backend.replica, bucket: 'nobody-has-this' };
      const missing = await connectReplica(replica, ended.signal);
      await expect(missing.check()).rejects.toMatchObject({
        code: 'not_found',
        message: expect.stringMatching(
          /nobody-has-this.*replica "far" has no such bucket.*private/,
        ),
      });
    });
  });
});

describe('a bucket of the S3 protocol', () => {
  let fake: FakeS3;
  beforeAll(async () => {
    fake = await startFakeS3();
    fake.buckets.set('copies', new Map());
  });
  afterAll(() => fake?.close());
  const connected = async (more = {}) =>
    connectReplica(await replicaOf(fake, 'copies', more), ended.signal);

  test.each([
    ['another region', { region: 'us-east-1' }, 'invalid_input', /another region, "eu-central-1"/],
    [
      'another key id',
      { keyId: 'AKIAOTHER' },
      'unauthenticated',
      /refuses the key \(InvalidAccessKeyId\)/,
    ],
    ['no server', { url: 'http://127.0.0.1:1' }, 'unavailable', /out of reach/],
  ])('%s: it is said what to do', async (_, more, code, message) => {
    const objects = await connected(more);
    await expect(objects.check()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    // HEAD says nothing of why.
    await expect(objects.info('a/generations/v1__g.tar.gz')).rejects.toMatchObject({ code });
  });

  test('another secret is refused, and a new one is taken from the file', async () => {
    const file = await keyFile('another');
    const objects = await connected({ keyFile: file });
    await expect(objects.check()).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringMatching(/SignatureDoesNotMatch/),
    });
    await writeFile(file, fake.secret);
    await objects.check();
  });

  test.each([
    ['RequestTimeTooSkewed', 403, 'invalid_input', /set the clock/],
    ['AccessDenied', 403, 'forbidden', /list, read, write and delete/],
    ['SlowDown', 503, 'unavailable', /asks to be slower/],
  ])('%s: it is said what to do', async (name, status, code, message) => {
    const objects = await connected();
    fake.setFault(() => ({ status, code: name }));
    await expect(objects.check()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    await expect(objects.info('a/b')).rejects.toMatchObject({ code });
    fake.setFault(null);
  });

  test('what a gateway says is no answer', async () => {
    const objects = await connected({ url: `${inject('stack').SUPABASE_URL}/nothing` });
    await expect(objects.check()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a bucket that anybody reads is refused, and nothing stays in it', async () => {
    fake.buckets.set('open', new Map());
    fake.open.add('open');
    const objects = await connected({ bucket: 'open' });
    await expect(objects.check()).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('is public'),
    });
    expect(fake.buckets.get('open')!.size).toBe(0);
  });

  test('where eTags are no MD5 the bytes are read back', async () => {
    const objects = await connected();
    fake.setEtags(false);
    const key = 'kms/generations/v1__g.tar.gz';
    const archive = await archiveOf(randomBytes(300));
    expect(await objects.put(key, archive)).toBe(true);
    expect(fake.asked).toContain(`GET /copies/${key}`);
    expect(await objects.put(key, archive)).toBe(false);
    fake.setEtags(true);
  });

  test('what is damaged there is no copy', async () => {
    const objects = await connected();
    const key = 'damaged/generations/v1__g.tar.gz';
    const archive = await archiveOf(randomBytes(300));
    await objects.put(key, archive);
    const stored = fake.buckets.get('copies')!.get(key)!;
    // Its size, and what we said of it, are as they were.
    stored.body = randomBytes(300);
    stored.etag = 'f'.repeat(32);
    await expect(objects.put(key, archive)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('bytes that changed on the way are refused', async () => {
    const objects = await connected();
    const archive = await archiveOf(randomBytes(300));
    await writeFile(archive.path, randomBytes(300));
    const key = 'changed/generations/v1__g.tar.gz';
    await expect(objects.put(key, archive)).rejects.toMatchObject({ code: 'corrupt' });
    expect(await objects.info(key)).toBeNull();
  });

  test('lists of more than a page are whole', async () => {
    const objects = await connected();
    const bucket = fake.buckets.get('copies')!;
    const at = new Date();
    for (let n = 0; n < 2345; n++) {
      const stored = { body: Buffer.from('x'), etag: 'e', headers: {}, at };
      bucket.set(`p${n}/generations/v1__g.tar.gz`, stored);
      bucket.set(`many/generations/v${n + 1}__g.tar.gz`, stored);
    }
    const projects = await collect(objects.listProjects(null));
    expect(projects.filter((name) => /^p\d/.test(name))).toHaveLength(2345);
    expect(await collect(objects.listArchives('many'))).toHaveLength(2345);
  });

  test.each([
    ['hang', 'unavailable'],
    ['close', 'unavailable'],
  ] as const)('one that does %s is away', async (fault, code) => {
    const timeouts = { requestMs: 300, transferMs: 300, silenceMs: 300 };
    const replica = await replicaOf(fake, 'copies');
    const objects = await connectReplica(replica, ended.signal, { timeouts });
    const archive = await archiveOf(randomBytes(300));
    fake.setFault(({ method }) => (method === 'HEAD' ? { status: 404, code: 'NoSuchKey' } : fault));
    await expect(objects.check()).rejects.toMatchObject({ code, retryable: true });
    await expect(objects.readBack('a/b')).rejects.toMatchObject({ code, retryable: true });
    await expect(objects.put('a/b', archive)).rejects.toMatchObject({ code, retryable: true });
    fake.setFault(null);
  });

  test('a connection that breaks off in the midst of many bytes is the replica, not the disk', async () => {
    const objects = await connected();
    const key = 'cut/generations/v1__g.tar.gz';
    const archive = await archiveOf(randomBytes(8 * 1024 * 1024));
    const isAway = { code: 'unavailable', outage: 'away' };
    fake.setFault(({ method }) => (method === 'PUT' ? 'cut' : null));
    await expect(objects.put(key, archive)).rejects.toMatchObject(isAway);
    fake.setFault(null);
    await objects.put(key, archive);
    fake.setFault(({ method }) => (method === 'GET' ? 'cut' : null));
    await expect(objects.download(key, newPath())).rejects.toMatchObject(isAway);
    fake.setFault(null);
  });

  test('an archive that went is the disk, not the replica', async () => {
    const objects = await connected();
    const archive = await archiveOf(randomBytes(300));
    await rm(archive.path);
    await expect(objects.put('a/b', archive)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
