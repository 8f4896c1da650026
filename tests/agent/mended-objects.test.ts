/** What is verified was proven by this host; what is damaged is mended by any host that has the content. */
import { expect, test } from 'vitest';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import type { Rule } from '../support/fault-proxy.ts';
import { settled, waitForStatus } from '../support/storage.ts';
import {
  evict,
  keysOf,
  newRef,
  overwrite,
  quiet,
  rowsOf,
  startHost,
  textsOf,
} from '../support/two-hosts.ts';

const X = { a: 'X' };

test('an object that another host packed and that is damaged is sent anew from this one', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  for (const { storage } of [a, b]) {
    await waitForStatus(storage, await storage.save({ ...ref, files: X }), 'verified');
  }
  await a.storage.close();
  const [key] = await keysOf(bucket, ref.projectId);
  await overwrite(bucket, key!);
  const problems = [];
  for await (const verified of b.storage.verify()) problems.push(...verified.problems);
  expect(problems).toMatchObject([{ where: 'cloud' }]);
  await quiet(b.storage);
  expect(await b.storage.show(ref)).toMatchObject({ status: 'verified' });
  const [row] = await rowsOf(ref.projectId);
  expect(await keysOf(bucket, ref.projectId)).toEqual([row!.object_key]);
  const c = await startHost(bucket);
  expect(await textsOf(c.storage, ref)).toEqual(X);
});

test('a host that saves the same content after the damage does not take the word of the row', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const a = await startHost(bucket);
  await waitForStatus(a.storage, await a.storage.save({ ...ref, files: X }), 'verified');
  await a.storage.close();
  const [key] = await keysOf(bucket, ref.projectId);
  await overwrite(bucket, key!);
  const b = await startHost(bucket);
  await b.storage.save({ ...ref, files: X });
  await quiet(b.storage);
  expect(await b.storage.show(ref)).toMatchObject({ status: 'verified' });
  const c = await startHost(bucket);
  expect(await textsOf(c.storage, ref)).toEqual(X);
});

test('what another host left uploaded and not verified is verified by this one', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const [a, b] = [await startHost(bucket), await startHost(bucket)];
  await waitForStatus(a.storage, await a.storage.save({ ...ref, files: X }), 'verified');
  await a.storage.close();
  await serviceClient()
    .from('storage_generations')
    .update({ status: 'uploaded', verified_at: null })
    .eq('project_id', ref.projectId);
  await b.storage.save({ ...ref, files: X });
  await quiet(b.storage);
  expect((await b.storage.show(ref)).status).toBe('verified');
  expect(await rowsOf(ref.projectId, 'status')).toEqual([{ status: 'verified' }]);
});

test('an object of which Storage has the row alone is found by verify, sent again, and stops nothing', async () => {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const { storage, proxy } = await startHost(bucket);
  for (let version = 1; version <= 3; version++) {
    const saved = await settled(
      storage,
      storage.save({ projectId, version, files: { a: `${version}` } }),
    );
    await waitForStatus(storage, saved, 'verified');
  }
  const hollow: Rule = (method, path) =>
    method === 'GET' && /storage\/v1\/object\/bucket-.*v1__/.test(path)
      ? {
          kind: 'answer',
          status: 400,
          body: { statusCode: '404', error: 'not_found', message: 'Object not found' },
        }
      : null;
  proxy.rule = hollow;
  const checked: [number, number][] = [];
  for await (const { version, problems } of storage.verify()) {
    checked.push([version, problems.length]);
  }
  expect(checked).toEqual([
    [1, 1],
    [2, 0],
    [3, 0],
  ]);
  await quiet(storage);
  const sent = proxy.seen.filter((line) => /^POST \/storage\/v1\/object\/bucket-.*v1__/.test(line));
  expect(sent).toHaveLength(2);
  proxy.rule = () => null;
  await evict(storage);
});

test('a damaged object is not taken away by a host whose own copy is damaged', async () => {
  const bucket = uniqueId('bucket');
  const ref = newRef();
  const { storage } = await startHost(bucket);
  const saved = await settled(storage, storage.save({ ...ref, files: X }));
  await waitForStatus(storage, saved, 'verified');
  const [key] = await keysOf(bucket, ref.projectId);
  const { writeFileSync, rmSync } = await import('node:fs');
  await storage.get(saved);
  rmSync(`${saved.path}/archive.tar.gz`, { force: true });
  writeFileSync(`${saved.path}/source/a`, 'damaged');
  await overwrite(bucket, key!, 'cut short');
  await storage.resend();
  await quiet(storage);
  expect((await storage.show(ref)).status).toBe('failed');
  expect(await keysOf(bucket, ref.projectId)).toEqual([key]);
});
