/** The cache of `docs/cdn.md`: nginx with the configuration that stands there, before the embedded stack. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { makeUser, serviceClient, type TestUser, uniqueId } from '../support/cloud.ts';
import { asUser, callInProcess } from '../support/edge.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { ROOT } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const hasNginx = (() => {
  try {
    execFileSync('nginx', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

let owner: TestUser;
beforeAll(async () => {
  owner = await makeUser();
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** nginx with the file as it stands in the documents, but for where things are. */
async function startNginx(origin: string): Promise<string> {
  const folder = await tempFolder();
  const port = await freePort();
  const given = readFileSync(join(ROOT, 'docs/examples/cdn.conf'), 'utf8')
    .replace('https://YOUR_PROJECT.supabase.co', origin)
    .replace('listen 8080;', `listen 127.0.0.1:${port};`)
    .replace('/var/cache/nginx/codebegen', join(folder, 'cache'));
  mkdirSync(join(folder, 'temp'));
  const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/temp/${name};`)
    .join('\n');
  const main = `daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/errors;
    events {} http { access_log off; ${temps}\n${given} }`;
  writeFileSync(join(folder, 'nginx.conf'), main);
  const nginx = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], {
    stdio: 'ignore',
  });
  onTestFinished(async () => {
    nginx.kill();
    if (nginx.exitCode === null) await once(nginx, 'exit');
  });
  const url = `http://127.0.0.1:${port}`;
  await vi.waitUntil(
    () =>
      fetch(url).then(
        () => true,
        () => false,
      ),
    { timeout: 20_000 },
  );
  return url;
}

/** A generation, and the URL by which its owner downloads it through the cache. */
async function cached() {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cdn = await startNginx(proxy.url);
  const bucket = uniqueId('bucket');
  const storage = await openTestStorage({ cloud: testCloud(bucket), cdnUrl: cdn });
  const projectId = uniqueId();
  const files = { 'a.bin': Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251)) };
  const receipt = await storage.save({ projectId, ownerId: owner.id, files });
  await waitForStatus(storage, receipt, 'verified');
  const bytes = readFileSync((await storage.archive(receipt)).path);
  const environment = { CDN_URL: cdn };
  const download = async (body: object = {}) => {
    const call = asUser(callInProcess(environment), owner);
    const answer = await call('POST', `/projects/${projectId}/1/download`, body);
    return (await answer.json()) as { url: string; link: string | null };
  };
  const bodies = () => proxy.seen.filter((line) => line.startsWith('GET /storage/v1/object/sign/'));
  const key = `${projectId}/generations/v1__${receipt.generationId}.tar.gz`;
  return { proxy, cdn, storage, receipt, bucket, key, bytes, download, bodies, environment };
}

const codeOf = async (url: string) => (await fetch(url)).status;

test('nginx is there where it must be', () => {
  if (process.env.REQUIRE_NGINX === '1') expect(hasNginx).toBe(true);
});

describe.skipIf(!hasNginx)('behind nginx', () => {
  test('the second download fetches no body from the origin, whoever asks', async () => {
    const { cdn, storage, receipt, bytes, download, bodies } = await cached();
    const urls = [await download(), await download({ expires_in: 60 })].map(({ url }) => url);
    urls.push((await storage.downloadUrl(receipt))!.url);
    const caches = [];
    for (const url of urls) {
      expect(url.startsWith(`${cdn}/storage/v1/object/sign/`)).toBe(true);
      const answer = await fetch(url);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-disposition')).toBe(
        `attachment; filename=${receipt.projectId}-v1.tar.gz`,
      );
      expect(answer.headers.get('cache-control')).toBe('private, no-cache');
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes);
      caches.push(answer.headers.get('x-cache'));
    }
    expect(caches).toEqual(['MISS', 'HIT', 'HIT']);
    expect(bodies()).toHaveLength(1);
  });

  test('a range is answered, the first time and from what is kept', async () => {
    const { bytes, download, bodies } = await cached();
    const { url } = await download();
    for (let n = 0; n < 2; n++) {
      const answer = await fetch(url, { headers: { range: 'bytes=100-199' } });
      expect(answer.status).toBe(206);
      expect(answer.headers.get('content-range')).toBe(`bytes 100-199/${bytes.length}`);
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes.subarray(100, 200));
    }
    expect(bodies()).toHaveLength(1);
  });

  test('what the origin would refuse the cache refuses, though it has the body', async () => {
    const { cdn, bucket, key, download, bodies } = await cached();
    const { url } = await download();
    expect(await codeOf(url)).toBe(200);
    const token = new URL(url).searchParams.get('token')!;
    const at = (path: string, query: string) => `${cdn}/storage/v1/object/sign/${path}?${query}`;
    // Of the same owner, and of another: to something else.
    const other = await cached();
    const foreign = new URL((await other.download()).url).searchParams.get('token')!;
    const [head, claims = '', signature] = token.split('.');
    const forged = [head, Buffer.from(claims, 'base64url').toString('base64url'), `${signature}x`];
    for (const [name, refused] of [
      ['no token', at(`${bucket}/${key}`, '')],
      ['one that is none', at(`${bucket}/${key}`, 'token=x')],
      ['one of another path', at(`${bucket}/${key}`, `token=${foreign}`)],
      ['one that nobody signed', at(`${bucket}/${key}`, `token=${forged.join('.')}`)],
      ['its own, and another path', at(`${other.bucket}/${other.key}`, `token=${token}`)],
      ['a way around', `${at(`${bucket}/x/../${key}`, `token=${foreign}`)}`],
      ['a coded way around', at(`${bucket}/x/%2e%2e/${key}`, `token=${foreign}`)],
      ['two', at(`${bucket}/${key}`, `token=${foreign}&token=x`)],
    ] as const) {
      expect([403, 404], name).toContain(await codeOf(refused));
    }
    expect(await codeOf(`${cdn}/storage/v1/object/info/${bucket}/${key}?token=${token}`)).toBe(404);
    expect([403, 404]).toContain(await codeOf(`${cdn}/codebegen-authorize?token=${token}`));
    expect(bodies()).toHaveLength(1);
  });

  test('what has expired, or is gone, is refused', async () => {
    const { bucket, key, download, bodies } = await cached();
    const soon = await download({ expires_in: 1 });
    const later = await download();
    expect(await codeOf(later.url)).toBe(200);
    await vi.waitUntil(async () => (await codeOf(soon.url)) === 403, { timeout: 20_000 });
    expect((await serviceClient().storage.from(bucket).remove([key])).error).toBeNull();
    expect(await codeOf(later.url)).toBe(403);
    expect(bodies()).toHaveLength(1);
  });

  test('a link that has ended leads nowhere; where it led is over soon', async () => {
    const { download, environment, cdn } = await cached();
    const { link } = await download({ revocable: true });
    const follow = () => callInProcess(environment)('GET', `/links/${link}`);
    const led = await follow();
    expect(led.headers.get('location')).toMatch(new RegExp(`^${cdn}/storage/`));
    expect(await codeOf(led.headers.get('location')!)).toBe(200);
    const ended = await asUser(callInProcess(environment), owner)('DELETE', `/links/${link}`);
    expect(ended.status).toBe(200);
    expect((await follow()).status).toBe(404);
  });

  test('while the origin is away nothing is served', async () => {
    const { proxy, download } = await cached();
    const { url } = await download();
    expect(await codeOf(url)).toBe(200);
    proxy.rule = () => ({ kind: 'down' });
    expect(await codeOf(url)).toBeGreaterThanOrEqual(500);
  });
});
