/** The agent with a key of its own, in the place of the project's secret one: the same behaviour. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import type { Storage, StorageOptions } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { makeHost, sql, type TestHost } from '../support/host-key.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import {
  evict,
  forget,
  keysOf,
  overwrite,
  quiet,
  rowsOf,
  textsOf,
  until,
} from '../support/two-hosts.ts';

const FILES = { a: '1', 'b/c': 'c'.repeat(3000) };

/** An agent with the key of a host, on a way to the cloud that can be made to fail. */
async function open(host: TestHost, bucket: string, options: Partial<StorageOptions> = {}) {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storage = await openTestStorage({
    cloud: { url: proxy.url, key: host.key, bucket },
    random: () => 0,
    ...options,
  });
  return { storage, proxy };
}

async function newHost(rights: Parameters<typeof makeHost>[0] = {}) {
  const bucket = uniqueId('bucket');
  return { bucket, host: await makeHost({ bucket, ...rights }) };
}

const saved = async (storage: Storage, input: Parameters<Storage['save']>[0]) => {
  const receipt = await storage.save(input);
  return { receipt, ...(await waitForStatus(storage, receipt, 'verified')) };
};

test('what is saved is verified, lists, and is got by another agent of the host', async () => {
  const { host, bucket } = await newHost();
  const { storage, proxy } = await open(host, bucket);
  const projectId = uniqueId();
  const { receipt } = await saved(storage, { projectId, files: FILES });
  expect(await keysOf(bucket, projectId)).toHaveLength(1);
  const other = await open(host, bucket);
  expect(await textsOf(other.storage, receipt)).toEqual(FILES);
  const url = await other.storage.downloadUrl(receipt);
  expect((await fetch(url!.url)).status).toBe(200);
  // It talks to the function, and to Storage by signed URLs alone.
  const asked = [...proxy.seen, ...other.proxy.seen].map((line) => line.split('\n')[0]!);
  expect(asked.length).toBeGreaterThan(3);
  for (const line of asked) {
    expect(line).toMatch(/ \/(functions\/v1\/hosts\/|storage\/v1\/(object\/(upload\/)?sign\/))/);
  }
});

test('what another host saved is not there for it, and its versions are passed over', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const stranger = await open(await makeHost({ bucket }), bucket);
  const projectId = uniqueId();
  const { receipt } = await saved(storage, { projectId, files: FILES });
  await expect(stranger.storage.get(receipt)).rejects.toMatchObject({ code: 'not_found' });
  await expect(stranger.storage.downloadUrl(receipt)).rejects.toMatchObject({ code: 'not_found' });
  const refused = await stranger.storage.save({ projectId, version: 7, files: FILES });
  await expect(waitForStatus(stranger.storage, refused, 'verified')).rejects.toThrow(
    'may not write',
  );
  // Assigned, it saves beside what is there, under the next version.
  const assigned = await makeHost({ bucket, projects: [projectId] });
  const beside = await open(assigned, bucket);
  expect((await saved(beside.storage, { projectId, files: { b: '2' } })).version).toBe(2);
  await expect(beside.storage.get(receipt)).rejects.toMatchObject({ code: 'not_found' });
});

test('a disk that was lost is restored, with what the host was handed over', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const projectId = uniqueId();
  const refs = [];
  for (const n of [1, 2]) {
    refs.push((await saved(storage, { projectId, files: { n: String(n) } })).receipt);
  }
  await storage.activate(refs[0]!);
  await storage.close();
  await sql('storage_revoke_host', { p_name: host.name });
  const next = await makeHost({ bucket });
  const empty = await open(next, bucket);
  expect(await empty.storage.restore({ projectId })).toMatchObject({ found: 0 });
  await sql('storage_assign_projects', { p_name: next.name, p_projects: [projectId] });
  expect(await empty.storage.restore({ projectId })).toMatchObject({ restored: 2, problems: [] });
  for (const [i, ref] of refs.entries()) {
    expect(await textsOf(empty.storage, ref)).toEqual({ n: String(i + 1) });
  }
  expect((await saved(empty.storage, { projectId, files: { n: '3' } })).version).toBe(3);
});

test('the bucket is lost: all is sent again', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const projectId = uniqueId();
  const { receipt } = await saved(storage, { projectId, files: FILES });
  const keys = await keysOf(bucket, projectId);
  await serviceClient().storage.from(bucket).remove(keys);
  await storage.resend(projectId);
  await quiet(storage);
  expect(await keysOf(bucket, projectId)).toEqual(keys);
  // Other bytes in its place are noticed, and go.
  await serviceClient().storage.from(bucket).update(keys[0]!, 'garbage', { upsert: true });
  for await (const { problems } of storage.verify({ projectId, repair: true })) {
    expect(problems).toHaveLength(1);
  }
  await quiet(storage);
  expect((await storage.show(receipt)).status).toBe('verified');
  for await (const { problems } of storage.verify({ projectId })) expect(problems).toEqual([]);
});

test.each([
  ['small', FILES],
  ['sent in parts', { big: randomBytes(7_000_000).toString('base64') }],
])(
  'the database is lost: what was taken out of the store is found in the bucket, %s',
  async (_, files) => {
    const { host, bucket } = await newHost();
    const { storage } = await open(host, bucket);
    const { receipt } = await saved(storage, { projectId: uniqueId(), files });
    await quiet(storage);
    await evict(storage);
    await forget(receipt.projectId);
    await storage.resend();
    await quiet(storage);
    expect(await storage.show(receipt)).toMatchObject({ status: 'verified', failure: null });
    expect(await textsOf(storage, receipt)).toEqual(files);
    expect(await keysOf(bucket, receipt.projectId)).toHaveLength(1);
  },
);

test('the database is lost: what the bucket has in other bytes is not taken for it', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const { receipt } = await saved(storage, { projectId: uniqueId(), files: FILES });
  await quiet(storage);
  await evict(storage);
  await forget(receipt.projectId);
  await overwrite(bucket, (await keysOf(bucket, receipt.projectId))[0]!);
  await storage.resend();
  await quiet(storage);
  expect(await storage.show(receipt)).toMatchObject({
    status: 'failed',
    failure: expect.stringContaining('migrate --from-bucket'),
  });
  // Also the next time, with the row of the first look.
  await storage.retryParked();
  await quiet(storage);
  expect(await storage.show(receipt)).toMatchObject({
    status: 'failed',
    failure: expect.stringContaining('migrate --from-bucket'),
  });
});

test('the database is lost: a deletion is told to it, and can be undone', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const { receipt } = await saved(storage, { projectId: uniqueId(), files: FILES });
  await quiet(storage);
  await forget(receipt.projectId);
  await storage.delete(receipt);
  await quiet(storage);
  expect(await rowsOf(receipt.projectId, 'status')).toEqual([{ status: 'deleted' }]);
  // It is kept, and by no other name.
  expect(await keysOf(bucket, receipt.projectId)).toEqual([]);
  expect(await storage.undelete(receipt)).toMatchObject({ undeleted: true });
  await quiet(storage);
  expect(await storage.show(receipt)).toMatchObject({ status: 'verified' });
  expect(await textsOf(storage, receipt)).toEqual(FILES);
});

test('the database is lost: content of another host under its name is not deleted for it', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const ref = { projectId: uniqueId(), version: 1, generationId: 'g' };
  await saved(storage, { ...ref, files: { a: 'first' } });
  await saved(storage, { ...ref, files: { a: 'second' }, replace: true });
  await quiet(storage);
  await forget(ref.projectId);
  const other = await open(host, bucket);
  await saved(other.storage, { ...ref, files: FILES });
  await storage.delete(ref);
  await quiet(storage);
  expect(await rowsOf(ref.projectId, 'status')).toEqual([{ status: 'verified' }]);
  const third = await open(host, bucket);
  expect(await textsOf(third.storage, ref)).toEqual(FILES);
});

test('an owner is set; a project is given to nobody else', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const projectId = uniqueId();
  await saved(storage, { projectId, files: FILES });
  const [owner, other] = ['11', '22'].map((n) => `c0ffee00-0000-4000-8000-0000000000${n}`);
  expect(await storage.setOwner(projectId, owner!)).toBe(true);
  const { data } = await serviceClient()
    .from('storage_projects')
    .select('owner_id')
    .eq('id', projectId);
  expect(data).toEqual([{ owner_id: owner }]);
  await expect(storage.setOwner(projectId, other!, { transfer: true })).rejects.toThrow(
    'secret key',
  );
});

test('a key that is revoked is an outage, and a new one is taken without a restart', async () => {
  const { host, bucket } = await newHost();
  const folder = await tempFolder();
  const keyFile = `${folder}/key`;
  writeFileSync(keyFile, host.key);
  const { url } = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storage = await openTestStorage({
    cloud: { url, key: host.key, keyFile, bucket },
    random: () => 0,
  });
  const projectId = uniqueId();
  await saved(storage, { projectId, files: FILES });
  await sql('storage_revoke_host', { p_name: host.name });
  const waiting = await storage.save({ projectId, files: { a: '2' } });
  await until(async () => {
    await storage.drain(100);
    return (await storage.status()).outbox.paused;
  });
  expect((await storage.status()).outbox.reason).toContain('revoked');
  expect(await storage.show(waiting)).toMatchObject({ status: 'pending', failure: null });
  const next = await makeHost({ bucket });
  await sql('storage_assign_projects', { p_name: next.name, p_projects: [projectId] });
  writeFileSync(keyFile, next.key);
  await waitForStatus(storage, waiting, 'verified');
});

test('a host that had the secret key goes on with one of its own, once it is given what it has', async () => {
  const bucket = uniqueId('bucket');
  const storePath = await tempFolder();
  const bySecret = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const projectId = uniqueId();
  const { receipt } = await saved(bySecret, { projectId, files: FILES });
  await bySecret.close();
  const host = await makeHost({ bucket });
  const early = await open(host, bucket, { storePath });
  await early.storage.learnChanges();
  await quiet(early.storage);
  // It is not the host's yet: that is said, and nothing is lost.
  expect(await early.storage.show(receipt)).toMatchObject({
    status: 'failed',
    failure: expect.stringContaining('may not write'),
  });
  expect(await textsOf(early.storage, receipt)).toEqual(FILES);
  const operator = {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: testCloud(bucket).url,
    SUPABASE_SERVICE_KEY: testCloud(bucket).key,
    SUPABASE_BUCKET: bucket,
    FILE_STORAGE_PATH: storePath,
    CACHE_PATH: await tempFolder(),
  };
  const given = await runCli(['hosts', 'assign', host.name, '--here'], operator);
  expect(given.stdout, given.stderr).toBe(`${host.name}: 1 assigned\n`);
  await early.storage.retryParked();
  await waitForStatus(early.storage, receipt, 'verified');
  expect((await saved(early.storage, { projectId, files: { a: '2' } })).version).toBe(2);
  await early.storage.delete(receipt);
  await quiet(early.storage);
  expect(await early.storage.undelete(receipt)).toMatchObject({ undeleted: true });
});

test('what a host had that burnt is given to another, whole', async () => {
  const { host, bucket } = await newHost();
  const { storage } = await open(host, bucket);
  const refs = [];
  for (const n of ['1', '2', '3']) {
    refs.push((await saved(storage, { projectId: uniqueId(), files: { n } })).receipt);
  }
  const next = await makeHost({ bucket });
  const operator = await openTestStorage({ cloud: testCloud(bucket) });
  await expect(operator.hosts.assignFrom(next.name, host.name)).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining(`hosts revoke ${host.name}`),
  });
  await operator.hosts.revoke(host.name);
  expect(await operator.hosts.assignFrom(next.name, host.name)).toBe(3);
  await expect(operator.hosts.assignFrom(next.name, 'nobody')).rejects.toMatchObject({
    code: 'not_found',
  });
  const empty = await open(next, bucket);
  expect(await empty.storage.restore({})).toMatchObject({ restored: 3, problems: [] });
  for (const ref of refs) expect((await empty.storage.show(ref)).status).toBe('verified');
});

test.skipIf(process.platform !== 'linux')(
  'memory, environment, files and children of a daemon hold its key, and not the secret one',
  async () => {
    const { host, bucket } = await newHost();
    const dumps = await tempFolder();
    const keyFile = join(await tempFolder(), 'host.key');
    writeFileSync(keyFile, host.key);
    const { daemon, storePath } = await startDaemon({
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: testCloud(bucket).url,
      SUPABASE_BUCKET: bucket,
      HOST_KEY_FILE: keyFile,
      NODE_OPTIONS: `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${dumps}`,
    });
    const projectId = uniqueId();
    const body = JSON.stringify({ project_id: projectId, files: { 'a.txt': 'a' } });
    const headers = { 'content-type': 'application/json' };
    const posted = await fetch(`${daemon.url}/v1/generations`, { method: 'POST', headers, body });
    expect(posted.status).toBe(201);
    await until(async () => {
      const shown = await fetch(`${daemon.url}/v1/projects/${projectId}/1`);
      return ((await shown.json()) as { status: string }).status === 'verified';
    });
    daemon.child.kill('SIGUSR2');
    await until(() => readdirSync(dumps).some((name) => name.endsWith('.heapsnapshot')));
    const [name] = readdirSync(dumps);
    const whole = () => readFileSync(join(dumps, name!), 'latin1');
    // It is written piece by piece.
    await until(() => whole().trimEnd().endsWith('}'));
    const pid = daemon.child.pid!;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    const environments = [pid, ...children.filter(Boolean)].map((one) =>
      readFileSync(`/proc/${one}/environ`, 'latin1'),
    );
    const files = readdirSync(storePath, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
    const memory = whole();
    expect(memory).toContain(host.key);
    const { SUPABASE_SERVICE_KEY, SUPABASE_SECRET_KEY, JWT_SECRET } = inject('stack');
    for (const secret of [SUPABASE_SERVICE_KEY, SUPABASE_SECRET_KEY, JWT_SECRET]) {
      expect(memory.includes(secret)).toBe(false);
      for (const text of [...environments, ...files]) expect(text.includes(secret)).toBe(false);
    }
    for (const text of files) expect(text.includes(host.key)).toBe(false);
  },
);
