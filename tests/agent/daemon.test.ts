/** `codebegen-storage start`, as a process: download URLs of this host, clean-up, shutdown. */
import { once } from 'node:events';
import { existsSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { expect, inject, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon as start } from '../support/daemon.ts';
import { runCli } from '../support/run.ts';
import {
  openTestStorage,
  settled,
  testCache,
  testCloud,
  waitForStatus,
} from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const FILES = { 'a.txt': 'a'.repeat(1000) };

test('a URL asked for right after a save works, without a cloud, also from another process', async () => {
  const { storePath, daemon } = await start();
  const storage = await openTestStorage({ storePath });
  const receipt = await settled(storage, storage.save({ projectId: 'shop', files: FILES }));
  const download = await storage.downloadUrl(receipt, { expiresIn: 60 });
  expect(download).toMatchObject({ sha256: receipt.sha256, size: receipt.archiveBytes });
  expect(download!.url.startsWith(`${daemon.url}/v1/projects/shop/1/archive.tar.gz?`)).toBe(true);

  const response = await fetch(download!.url);
  expect(response.status).toBe(200);
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': 'application/gzip',
    'content-disposition': 'attachment; filename="shop-v1.tar.gz"',
    'content-length': String(receipt.archiveBytes),
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
    etag: `"${receipt.sha256}"`,
  });
  const archive = Buffer.from(await response.arrayBuffer());
  expect(gunzipSync(archive).includes('a'.repeat(1000))).toBe(true);

  const range = (header: string) => fetch(download!.url, { headers: { range: header } });
  const part = await range('bytes=10-19');
  expect([part.status, part.headers.get('content-range')]).toEqual([
    206,
    `bytes 10-19/${archive.length}`,
  ]);
  expect(Buffer.from(await part.arrayBuffer())).toEqual(archive.subarray(10, 20));
  expect(Buffer.from(await (await range('bytes=-5')).arrayBuffer())).toEqual(archive.subarray(-5));
  expect((await range(`bytes=${archive.length}-`)).status).toBe(416);
  const known = await fetch(download!.url, { headers: { 'if-none-match': `"${receipt.sha256}"` } });
  expect(known.status).toBe(304);

  const { code, stdout } = await runCli(['url', 'shop', '1'], { FILE_STORAGE_PATH: storePath });
  expect(code).toBe(0);
  expect((await fetch(stdout.trim())).status).toBe(200);
});

test('a URL that is expired, changed or of something deleted is refused', async () => {
  const { storePath, daemon } = await start();
  const storage = await openTestStorage({ storePath });
  const one = await storage.save({ projectId: 'p', files: FILES });
  await storage.save({ projectId: 'p', files: { b: 'other' } });
  const url = new URL((await storage.downloadUrl(one))!.url);
  const changed = (change: (copy: URL) => void) => {
    const copy = new URL(url);
    change(copy);
    return fetch(copy);
  };
  const refused = await Promise.all([
    changed((copy) => copy.searchParams.set('expires', '9999999999')),
    changed((copy) => copy.searchParams.delete('expires')),
    changed((copy) => copy.searchParams.set('signature', 'AAAA')),
    changed((copy) => {
      copy.pathname = copy.pathname.replace('/1/', '/2/');
    }),
    changed((copy) => {
      copy.pathname = copy.pathname.replace('/p/', '/q/');
    }),
  ]);
  for (const response of refused) {
    expect(response.status).toBe(403);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(await response.json()).toMatchObject({ code: 'forbidden', status: 403 });
  }
  const past = await openTestStorage({ storePath, now: () => Date.now() - 7_200_000 });
  expect((await fetch((await past.downloadUrl(one))!.url)).status).toBe(403);
  expect((await changed((copy) => copy.searchParams.delete('generation'))).status).toBe(400);
  expect((await fetch(`${daemon.url}/v1/nothing`)).status).toBe(404);
  await storage.delete(one);
  expect((await fetch(url)).status).toBe(404);
  expect(statSync(join(storePath, '.codebegen-storage/url-key')).mode & 0o777).toBe(0o600);
});

test('without a daemon there is no URL, and none of one that was killed', async () => {
  const { storePath, daemon } = await start();
  const storage = await openTestStorage({ storePath });
  const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
  expect(await storage.downloadUrl(receipt)).not.toBeNull();
  daemon.child.kill('SIGKILL');
  await once(daemon.child, 'close');
  expect(await storage.downloadUrl(receipt)).toBeNull();
  const { code, stderr } = await runCli(['url', 'p', '1'], { FILE_STORAGE_PATH: storePath });
  expect(code).toBe(1);
  expect(stderr).toContain('no daemon serves it');
});

test('from the upload on the URL is the cloud’s, and after turning the cloud off this host’s again', async () => {
  const bucket = uniqueId('bucket');
  const { storePath } = await start({
    AGENT_PUBLIC_URL: 'https://agent.example/base/',
    AGENT_TOKEN: 'token-of-this-test',
  });
  const storage = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const receipt = await settled(storage, storage.save({ projectId: uniqueId(), files: FILES }));
  await waitForStatus(storage, receipt, 'verified');
  const { url } = (await storage.downloadUrl(receipt))!;
  expect(url.startsWith(`${inject('stack').SUPABASE_URL}/storage/v1/object/sign/`)).toBe(true);
  expect((await fetch(url)).status).toBe(200);
  await storage.close();
  const offline = await openTestStorage({ storePath });
  const own = (await offline.downloadUrl(receipt))!;
  expect(own.url).toMatch(/^https:\/\/agent\.example\/base\/v1\/projects\//);
});

test('the daemon uploads what others owe, and stops in order', async () => {
  const bucket = uniqueId('bucket');
  const stack = inject('stack');
  const storePath = await tempFolder();
  const writer = await openTestStorage({ storePath });
  const receipt = await settled(writer, writer.save({ projectId: uniqueId(), files: FILES }));
  const { daemon } = await start({
    FILE_STORAGE_PATH: storePath,
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: stack.SUPABASE_URL,
    SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: bucket,
  });
  const reader = await openTestStorage({ storePath, cloud: testCloud(bucket), background: false });
  while ((await reader.show(receipt)).status !== 'verified') await sleep(20);
  daemon.child.kill('SIGTERM');
  expect(await once(daemon.child, 'close')).toEqual([0, null]);
  expect(daemon.output().stdout).toBe(`Listening on ${daemon.url}\n`);
});

test('a taken port is told of, with what to do', async () => {
  const { daemon } = await start();
  const { code, stderr } = await runCli(['start'], {
    FILE_STORAGE_PATH: await tempFolder(),
    AGENT_PORT: new URL(daemon.url).port,
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/Cannot listen on 127\.0\.0\.1:\d+: another process.*AGENT_PORT/);
});

test('the cache is cleaned up by itself where that is wanted', async () => {
  const cloud = testCloud(uniqueId('bucket'));
  const saver = await openTestStorage({ cloud });
  const receipt = await settled(saver, saver.save({ projectId: uniqueId(), files: FILES }));
  await waitForStatus(saver, receipt, 'verified');
  const cache = await testCache();
  const reader = await openTestStorage({ cloud, cache });
  const { path } = await reader.get(receipt);
  const old = Date.now() / 1000 - 7 * 3600;
  utimesSync(join(path, '.entry.json'), old, old);

  const settings = { CACHE_PATH: cache.path, MAX_CACHE_AGE_HOURS: '1' };
  await start(settings);
  expect(existsSync(path)).toBe(true);
  await start({ ...settings, AUTO_CLEANUP_ENABLED: 'true', CLEANUP_INTERVAL_HOURS: '1' });
  while (existsSync(path)) await sleep(10);
});
