import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { makeUser, serviceClient, uniqueId, userClient } from '../support/cloud.ts';
import { openTestStorage, settled, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

describe('what is saved', () => {
  test('is uploaded, recorded and verified in the background; the bucket is made, private', async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const owner = await makeUser();
    const storage = await openTestStorage({ cloud: testCloud(bucket) });
    const receipt = await settled(
      storage,
      storage.save({
        projectId,
        generationId: 'g',
        ownerId: owner.id,
        files: { a: '1' },
      }),
    );
    expect(receipt.status).toBe('pending');
    const summary = await waitForStatus(storage, receipt, 'verified');
    expect(summary.objectKey).toBe(`${projectId}/generations/v1__g.tar.gz`);

    const service = serviceClient();
    expect((await service.storage.getBucket(bucket)).data).toMatchObject({ public: false });
    const info = await service.storage.from(bucket).info(summary.objectKey);
    expect(info.data).toMatchObject({
      size: receipt.archiveBytes,
      contentType: 'application/gzip',
      metadata: { sha256: receipt.sha256 },
    });
    const rows = await service.from('storage_generations').select().eq('project_id', projectId);
    expect(rows.data).toMatchObject([
      {
        version: 1,
        generation_id: 'g',
        bucket,
        object_key: summary.objectKey,
        status: 'verified',
        sha256: receipt.sha256,
        digest: receipt.digest,
        file_count: 1,
        source_bytes: 1,
        archive_bytes: receipt.archiveBytes,
      },
    ]);
    const manifests = await service
      .from('storage_manifests')
      .select('manifest, block_index')
      .eq('project_id', projectId);
    expect(manifests.data).toMatchObject([{ manifest: { files: ['a'] }, block_index: null }]);
    const mine = await userClient(owner).from('storage_projects').select('id, owner_id');
    expect(mine.data).toEqual([{ id: projectId, owner_id: owner.id }]);
  });

  test('over 6 MiB goes in chunks and is the same', async () => {
    const bucket = uniqueId('bucket');
    const storage = await openTestStorage({ cloud: testCloud(bucket) });
    const receipt = await settled(
      storage,
      storage.save({
        projectId: uniqueId(),
        files: { 'big.bin': randomBytes(14_000_000) },
      }),
    );
    const { objectKey } = await waitForStatus(storage, receipt, 'verified');
    const object = await serviceClient().storage.from(bucket).download(objectKey);
    const bytes = Buffer.from(await object.data!.arrayBuffer());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(receipt.sha256);
  });

  test('while the cloud was off is uploaded once it is on', async () => {
    const storePath = await tempFolder();
    const off = await openTestStorage({ storePath });
    const receipt = await settled(off, off.save({ projectId: uniqueId(), files: { a: '1' } }));
    expect(receipt.status).toBe('local');
    expect((await off.status()).generations).toEqual({ local: 1 });
    await off.close();
    const on = await openTestStorage({ storePath, cloud: testCloud(uniqueId('bucket')) });
    await waitForStatus(on, receipt, 'verified');
    expect((await on.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  });

  test('while the cloud is away stays owed, and the save does not notice', async () => {
    const port = await freePort();
    const storePath = await tempFolder();
    const cloud = { ...testCloud(uniqueId('bucket')), url: `http://127.0.0.1:${port}` };
    const problems: unknown[] = [];
    const away = await openTestStorage({
      storePath,
      cloud,
      onProblem: (error) => problems.push(error),
    });
    const receipt = await settled(away, away.save({ projectId: uniqueId(), files: { a: '1' } }));
    await away.drain();
    expect(problems[0]).toMatchObject({ code: 'unavailable', retryable: true });
    expect((await away.status()).outbox).toMatchObject({ owed: 1, parked: 0 });
    await away.close({ drainMs: 0 });
    // Due again only after its backoff: another clock gets there at once.
    const back = await openTestStorage({
      storePath,
      cloud: testCloud(cloud.bucket),
      now: () => Date.now() + 600_000,
    });
    await waitForStatus(back, receipt, 'verified');
  });

  test('is not sent again where it is in the bucket with the same bytes', async () => {
    const bucket = uniqueId('bucket');
    const storePath = await tempFolder();
    const off = await openTestStorage({ storePath });
    const receipt = await settled(
      off,
      off.save({ projectId: uniqueId(), generationId: 'g', files: { a: '1' } }),
    );
    await off.close();
    const service = serviceClient();
    await service.storage.createBucket(bucket, { public: false });
    const key = `${receipt.projectId}/generations/v1__g.tar.gz`;
    const archive = await readFile(join(receipt.path, 'archive.tar.gz'));
    await service.storage.from(bucket).upload(key, archive, { contentType: 'application/gzip' });
    const before = (await service.storage.from(bucket).info(key)).data;
    const on = await openTestStorage({ storePath, cloud: testCloud(bucket) });
    await waitForStatus(on, receipt, 'verified');
    expect((await service.storage.from(bucket).info(key)).data).toEqual(before);
  });

  test('and whose key has other bytes gets another key, and nothing is overwritten', async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const service = serviceClient();
    await service.storage.createBucket(bucket, { public: false });
    const key = `${projectId}/generations/v1__g.tar.gz`;
    await service.storage.from(bucket).upload(key, Buffer.from('other'));
    const storage = await openTestStorage({ cloud: testCloud(bucket) });
    const receipt = await settled(
      storage,
      storage.save({ projectId, generationId: 'g', files: { a: '1' } }),
    );
    const { objectKey } = await waitForStatus(storage, receipt, 'verified');
    expect(objectKey).toBe(`${projectId}/generations/v1__g.${receipt.sha256.slice(0, 12)}.tar.gz`);
    expect(await (await service.storage.from(bucket).download(key)).data?.text()).toBe('other');
  });
});

describe('two hosts', () => {
  test('that took one version: the second parks before a byte is sent', async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const first = await openTestStorage({ cloud: testCloud(bucket) });
    const second = await openTestStorage({ cloud: testCloud(bucket) });
    const kept = await settled(
      first,
      first.save({ projectId, generationId: 'g1', files: { a: '1' } }),
    );
    await waitForStatus(first, kept, 'verified');
    const parked = await second.save({
      projectId,
      version: 1,
      generationId: 'g2',
      files: { a: '2' },
    });
    await second.drain();
    const summary = await second.show(parked);
    expect(summary).toMatchObject({
      status: 'failed',
      failure: expect.stringContaining('held by generation "g1"'),
    });
    expect(await second.get(parked)).toMatchObject({ from: 'store' });
    const exists = await serviceClient().storage.from(bucket).exists(summary.objectKey);
    expect(exists.data).toBe(false);
    expect((await second.status()).outbox).toMatchObject({ owed: 0, parked: 1 });
  });

  test('that name two owners: the first stays, the second parks', async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const [ada, grace] = [await makeUser(), await makeUser()];
    const first = await openTestStorage({ cloud: testCloud(bucket) });
    const second = await openTestStorage({ cloud: testCloud(bucket) });
    const kept = await settled(
      first,
      first.save({ projectId, ownerId: ada.id, files: { a: '1' } }),
    );
    await waitForStatus(first, kept, 'verified');
    const parked = await second.save({
      projectId,
      version: 2,
      ownerId: grace.id,
      files: { a: '2' },
    });
    await second.drain();
    expect(await second.show(parked)).toMatchObject({
      status: 'failed',
      failure: expect.stringContaining('another owner'),
    });
    expect((await userClient(grace).from('storage_projects').select()).data).toEqual([]);
  });

  test('that saved the same content agree', async () => {
    const bucket = uniqueId('bucket');
    const input = { projectId: uniqueId(), generationId: 'g', files: { a: '1' } };
    const first = await openTestStorage({ cloud: testCloud(bucket), now: () => Date.now() - 5000 });
    const second = await openTestStorage({ cloud: testCloud(bucket) });
    await waitForStatus(first, await first.save(input), 'verified');
    const receipt = await settled(second, second.save(input));
    await waitForStatus(second, receipt, 'verified');
    const keys = await serviceClient().storage.from(bucket).list(`${input.projectId}/generations`);
    expect(keys.data).toHaveLength(1);
  });
});

describe('a download URL', () => {
  test('is signed once the archive is in the bucket, works without a key, and expires', async () => {
    const storage = await openTestStorage({ cloud: testCloud(uniqueId('bucket')) });
    const receipt = await settled(
      storage,
      storage.save({ projectId: uniqueId(), files: { a: '1' } }),
    );
    await waitForStatus(storage, receipt, 'verified');
    const download = await storage.downloadUrl(receipt, { expiresIn: 60 });
    expect(download).toMatchObject({ sha256: receipt.sha256, size: receipt.archiveBytes });
    const answer = await fetch(download!.url);
    expect(answer.headers.get('content-disposition')).toContain(`${receipt.projectId}-v1.tar.gz`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(receipt.sha256);
    await expect(storage.downloadUrl(receipt, { expiresIn: 0 })).rejects.toThrow('0 seconds');
  });

  test('is none while there is nothing that it could name', async () => {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: { a: '1' } }));
    expect(await storage.downloadUrl(receipt)).toBeNull();
  });
});

describe('deleting', () => {
  test('removes the object and the listing, and leaves a tombstone in the database', async () => {
    const bucket = uniqueId('bucket');
    const owner = await makeUser();
    const storage = await openTestStorage({ cloud: testCloud(bucket) });
    const receipt = await settled(
      storage,
      storage.save({
        projectId: uniqueId(),
        ownerId: owner.id,
        files: { a: '1' },
      }),
    );
    const { objectKey } = await waitForStatus(storage, receipt, 'verified');
    await storage.delete(receipt);
    await storage.drain();
    const service = serviceClient();
    // It is kept for as long as that can be undone.
    expect((await service.storage.from(bucket).exists(objectKey)).data).toBe(true);
    const rows = await service
      .from('storage_generations')
      .select('status, deleted_at, purge_at')
      .eq('project_id', receipt.projectId);
    expect(rows.data).toEqual([
      { status: 'deleted', deleted_at: expect.any(String), purge_at: expect.any(String) },
    ]);
    expect((await userClient(owner).from('storage_generations').select()).data).toEqual([]);
    expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  });

  test('what the web app deleted before its upload takes it away here too', async () => {
    const owner = await makeUser();
    const projectId = uniqueId();
    const storePath = await tempFolder();
    const cloud = testCloud(uniqueId('bucket'));
    const first = await openTestStorage({ storePath, cloud });
    const receipt = await settled(
      first,
      first.save({ projectId, ownerId: owner.id, files: { a: '1' } }),
    );
    await waitForStatus(first, receipt, 'verified');
    await first.close();
    await userClient(owner).rpc('storage_delete_generation', {
      p_project_id: projectId,
      p_version: 1,
    });
    // A host with the same generation that has not uploaded it yet.
    const second = await openTestStorage({ cloud });
    const same = await second.save({
      projectId,
      generationId: receipt.generationId,
      files: { a: '1' },
    });
    await second.drain();
    await expect(second.show(same)).rejects.toMatchObject({ code: 'not_found' });
  });
});

test('bytes that are not those that were sent are removed and sent again', async () => {
  const bucket = uniqueId('bucket');
  const storePath = await tempFolder();
  const cloud = testCloud(bucket);
  const off = await openTestStorage({ storePath });
  const receipt = await settled(
    off,
    off.save({ projectId: uniqueId(), generationId: 'g', files: { a: '1' } }),
  );
  await off.close();
  const key = `${receipt.projectId}/generations/v1__g.tar.gz`;
  const service = serviceClient();
  // Between upload and record somebody overwrites the object.
  const isUploaded = async () => (await service.storage.from(bucket).exists(key)).data;
  let flipped = false;
  let corrupt = 0;
  let ahead = 0;
  const storage = await openTestStorage({
    storePath,
    cloud: {
      ...cloud,
      url: await proxyTo(inject('stack').SUPABASE_URL, async () => {
        if (flipped || !(await isUploaded())) return;
        flipped = true;
        await service.storage.from(bucket).update(key, Buffer.alloc(receipt.archiveBytes, 'x'));
      }),
    },
    now: () => Date.now() + ahead,
    onProblem: (error) => {
      if ((error as { code?: string }).code === 'corrupt') corrupt++;
      ahead += 600_000;
    },
  });
  await waitForStatus(storage, receipt, 'verified');
  expect(corrupt).toBe(1);
  const object = await service.storage.from(bucket).download(key);
  const bytes = Buffer.from(await object.data!.arrayBuffer());
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(receipt.sha256);
});

/** Forwards to the stack; `before` runs ahead of each record of an upload. */
async function proxyTo(target: string, before: () => Promise<void>): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const server = serve(
    {
      port: 0,
      hostname: '127.0.0.1',
      fetch: async (request) => {
        const { pathname, search } = new URL(request.url);
        if (pathname.endsWith('/storage_record_generations')) await before();
        const headers = new Headers(request.headers);
        for (const name of ['host', 'connection', 'content-length']) headers.delete(name);
        headers.set('accept-encoding', 'identity');
        const body = request.body === null ? {} : { body: await request.arrayBuffer() };
        return fetch(target + pathname + search, { method: request.method, headers, ...body });
      },
    },
    ({ port }) => resolve(port),
  );
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${await promise}`;
}

/** A port on which nothing listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('an archive that was damaged on disk is not called verified', async () => {
  const storePath = await tempFolder();
  const off = await openTestStorage({ storePath });
  const receipt = await settled(off, off.save({ projectId: uniqueId(), files: { a: '1' } }));
  await off.close();
  const archive = join(receipt.path, 'archive.tar.gz');
  await writeFile(archive, Buffer.alloc(receipt.archiveBytes, 'y'));
  const storage = await openTestStorage({ storePath, cloud: testCloud(uniqueId('bucket')) });
  await storage.drain(5000);
  expect((await storage.show(receipt)).status).not.toBe('verified');
});

test.each(['off', 'on'])('who drains again and again starves nobody (cloud %s)', async (cloud) => {
  const bucket = uniqueId('bucket');
  const storage = await openTestStorage({ cloud: cloud === 'on' ? testCloud(bucket) : null });
  let others = 0;
  const timer = setInterval(() => others++, 1);
  onTestFinished(() => clearInterval(timer));
  // Bounded, so that it fails where it would not end.
  for (let times = 0; others < 3 && times < 100_000; times++) await storage.drain(1000);
  expect(others).toBeGreaterThanOrEqual(3);
});
