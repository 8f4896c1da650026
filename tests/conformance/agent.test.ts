/**
 * What an agent does with the cloud, by the secret key and by the key of a host: the same. Runs against the embedded
 * stack in `npm test`, and against a real Supabase with `npm run test:conformance -- --url URL --service-key KEY`, or
 * `--host-key KEY`. By the secret key everything is in a bucket of its own, which goes at the end; by a host's it is in
 * the bucket of that host, in projects of their own, whose generations are deleted at the end where the key may.
 */
import { hash, randomBytes, randomUUID } from 'node:crypto';
import { createClient } from '@supabase/supabase-js';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Storage, StorageOptions } from '../../node-agent/index.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { makeKey } from '../support/host-key.ts';
import { openTestStorage, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { quiet, textsOf, until } from '../support/two-hosts.ts';

const { url, key: secretKey, hostKey: givenHostKey, bucket: givenBucket } = inject('conformance');
const FILES = { a: '1', 'b/c': 'c'.repeat(3000) };
const CHUNKS = 14 * 1024 * 1024;

const service = () => createClient(url, secretKey!, { auth: { persistSession: false } });

describe.each([
  ...(secretKey === null ? [] : (['the secret key'] as const)),
  ...(secretKey === null && givenHostKey === null ? [] : (['the key of a host'] as const)),
])('by %s', (kind) => {
  const isByHost = kind === 'the key of a host';
  const host = `conformance-${randomUUID().slice(0, 8)}`;
  const bucket = isByHost && givenHostKey !== null ? givenBucket : `conformance-${randomUUID()}`;
  const projects: string[] = [];
  let key: string;

  beforeAll(async () => {
    key = isByHost ? (givenHostKey ?? makeKey()) : secretKey!;
    if (!isByHost || givenHostKey !== null) return;
    const { error } = await service().rpc('storage_add_host', {
      ...{ p_name: host, p_sha256: hash('sha256', key), p_read: 'own', p_delete: 'own' },
      p_bucket: bucket,
    });
    expect(error).toBeNull();
  });
  afterAll(async () => {
    if (secretKey === null || bucket === givenBucket) return;
    for (const project of projects) {
      const files = service().storage.from(bucket);
      const { data } = await files.list(`${project}/generations`);
      await files.remove([
        `${project}/project.json`,
        ...(data ?? []).map(({ name }) => `${project}/generations/${name}`),
      ]);
    }
    await service().storage.deleteBucket(bucket);
    if (isByHost) await service().rpc('storage_revoke_host', { p_name: host });
  });

  const open = (options: Partial<StorageOptions> = {}) =>
    openTestStorage({ cloud: { url, key, bucket }, random: () => 0, ...options });
  const newProject = () => {
    const id = `conformance-${randomUUID().slice(0, 13)}`;
    projects.push(id);
    return id;
  };
  const saved = async (storage: Storage, input: Parameters<Storage['save']>[0]) => {
    const receipt = await storage.save(input);
    await waitForStatus(storage, receipt, 'verified');
    return receipt;
  };

  test('what is saved is verified, and another agent gets it, and a URL', async () => {
    const storage = await open();
    const receipt = await saved(storage, { projectId: newProject(), files: FILES });
    const other = await open();
    expect(await textsOf(other, receipt)).toEqual(FILES);
    const signed = await other.downloadUrl(receipt);
    const bytes = Buffer.from(await (await fetch(signed!.url)).arrayBuffer());
    expect(hash('sha256', bytes)).toBe(signed!.sha256);
    for await (const { problems } of storage.verify({ projectId: receipt.projectId })) {
      expect(problems).toEqual([]);
    }
  });

  test('a large archive goes in chunks, and on from where it was after a restart', async () => {
    const storePath = await tempFolder();
    const proxy = await startFaultProxy(url);
    let patches = 0;
    proxy.rule = (line) => (line.startsWith('PATCH') && ++patches > 1 ? { kind: 'down' } : null);
    const broken = await open({ storePath, cloud: { url: proxy.url, key, bucket } });
    const bytes = Uint8Array.from(randomBytes(CHUNKS));
    const receipt = await broken.save({ projectId: newProject(), files: { bytes } });
    await until(() => patches > 1);
    await broken.close({ drainMs: 0 });
    proxy.rule = () => null;
    proxy.seen.length = 0;
    const storage = await open({ storePath, cloud: { url: proxy.url, key, bucket } });
    await waitForStatus(storage, receipt, 'verified');
    const lines = proxy.seen.map((line) => line.split('\n')[0]!);
    // Of three chunks one was there; none was begun again.
    expect(lines.filter((line) => line.startsWith('PATCH'))).toHaveLength(2);
    expect(lines.filter((line) => /^POST \/storage\/v1\/upload\/resumable/.test(line))).toEqual([]);
  });

  test('deleted, undeleted, replaced and brought back; the other agent follows', async () => {
    const [a, b] = [await open(), await open()];
    const ref = { projectId: newProject(), version: 1, generationId: 'g' };
    const first = await saved(a, { ...ref, files: FILES });
    await saved(b, { ...ref, files: FILES });
    await a.delete(ref);
    await quiet(a);
    expect(await b.learnChanges()).toBe(1);
    await expect(b.get(ref)).rejects.toMatchObject({ code: 'not_found' });
    expect(await a.undelete(ref)).toMatchObject({ undeleted: true });
    await quiet(a);
    await b.learnChanges();
    await quiet(b);
    expect(await textsOf(b, ref)).toEqual(FILES);
    await expect(a.save({ ...ref, files: { a: '2' } })).rejects.toMatchObject({ code: 'conflict' });
    await saved(a, { ...ref, files: { a: '2' }, replace: true });
    await b.learnChanges();
    await quiet(b);
    expect(await b.show(ref)).toMatchObject({ status: 'failed' });
    await a.undelete(ref, { digest: first.digest });
    await quiet(a);
    expect(await textsOf(a, ref)).toEqual(FILES);
    expect((await a.show(ref)).status).toBe('verified');
  });

  test('a disk that was lost is restored, with owner, active mark and next version', async () => {
    const storage = await open();
    const projectId = newProject();
    const ownerId = randomUUID();
    const refs = [];
    for (const n of ['1', '2'])
      refs.push(await saved(storage, { projectId, ownerId, files: { n } }));
    await storage.activate(refs[0]!);
    await storage.exchangeActive();
    await quiet(storage);
    await storage.close();
    const empty = await open();
    expect(await empty.restore({ projectId })).toMatchObject({ restored: 2, problems: [] });
    for (const [i, ref] of refs.entries()) {
      expect(await textsOf(empty, ref)).toEqual({ n: String(i + 1) });
      expect((await empty.show(ref)).status).toBe('verified');
    }
    expect(await empty.activeVersion(projectId)).toBe(1);
    const projects = (await empty.listProjects({})).items;
    expect(projects).toMatchObject([{ projectId, ownerId }]);
    const next = await saved(empty, { projectId, files: { n: '3' } });
    expect(next.version).toBe(3);
  });

  test('a new agent passes over the versions that are taken', async () => {
    const projectId = newProject();
    await saved(await open(), { projectId, version: 4, files: FILES });
    expect((await saved(await open(), { projectId, files: FILES })).version).toBe(5);
  });

  test('an owner is set once it is known', async () => {
    const storage = await open();
    const projectId = newProject();
    await saved(storage, { projectId, files: FILES });
    const ownerId = randomUUID();
    expect(await storage.setOwner(projectId, ownerId)).toBe(true);
    const another = storage.setOwner(projectId, randomUUID());
    await expect(another).rejects.toMatchObject({ code: 'conflict' });
  });
});
