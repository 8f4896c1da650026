/** `restore`: what cannot be had is told of, what is here stays, and what comes is what was recorded. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect, inject, test, vi } from 'vitest';
import type { Receipt, Storage } from '../../node-agent/index.ts';
import { isByHostKey } from '../support/by-host-key.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { type FaultProxy, first, startFaultProxy } from '../support/fault-proxy.ts';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { evict, forget, overwrite, quiet, startHost, textsOf } from '../support/two-hosts.ts';

/** What the bucket alone knows is shown to the secret key alone. */
const bySecretKey = test.skipIf(isByHostKey);

const filesOf = (i: number) => ({ 'a.txt': `${i}`, 'd/b.txt': 'b'.repeat(100 * i) });
const keyOf = ({ projectId, version, generationId }: Receipt) =>
  `${projectId}/generations/v${version}__${generationId}.tar.gz`;

/** Generations of a project that the cloud has, and what an empty host needs to get them. */
async function saved(count: number) {
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const { storage } = await startHost(bucket);
  const receipts: Receipt[] = [];
  for (let i = 1; i <= count; i++) {
    receipts.push(await storage.save({ projectId, files: filesOf(i), metadata: { i } }));
  }
  await quiet(storage);
  const env = async () => ({
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: inject('stack').SUPABASE_URL,
    [isByHostKey ? 'HOST_KEY' : 'SUPABASE_SERVICE_KEY']: testCloud(bucket).key,
    SUPABASE_BUCKET: bucket,
    FILE_STORAGE_PATH: join(await tempFolder(), 'store'),
    CACHE_PATH: await tempFolder(),
  });
  return { storage, bucket, projectId, receipts, env };
}

const open = async (bucket: string, options = {}) =>
  openTestStorage({ cloud: testCloud(bucket), ...options });

async function expectAll(storage: Storage, receipts: readonly Receipt[]): Promise<void> {
  for (const [i, receipt] of receipts.entries()) {
    expect(await textsOf(storage, receipt)).toEqual(filesOf(i + 1));
    expect(await storage.show(receipt)).toMatchObject({
      ...{ status: 'verified', metadata: { i: i + 1 } },
      localPath: expect.any(String),
    });
  }
}

test('what is damaged, gone, or never got to the cloud is named, and the exit code is 3', async () => {
  const { bucket, projectId, receipts, env } = await saved(4);
  const [one, two, three] = receipts as [Receipt, Receipt, Receipt];
  await overwrite(bucket, keyOf(one));
  await serviceClient()
    .storage.from(bucket)
    .remove([keyOf(two)]);
  const rows = serviceClient().from('storage_generations');
  await rows.update({ digest: 'f'.repeat(64) }).match({ project_id: projectId, version: 3 });
  const pending = { ...three, version: 5, generationId: 'late' };
  const { data } = await rows.select('reserved_by').match({ project_id: projectId, version: 3 });
  await serviceClient()
    .from('storage_generations')
    .insert({
      ...{ project_id: projectId, version: 5, generation_id: 'late', bucket },
      ...{ object_key: keyOf(pending), reserved_by: data![0]!.reserved_by },
    });
  const settings = await env();
  const ran = await runCli(['restore', projectId, '--json'], settings);
  expect(ran.code, ran.stderr).toBe(3);
  const report = JSON.parse(ran.stdout);
  expect(report).toMatchObject({ found: 5, restored: 1, failed: 4, stopped: false });
  const byVersion = (a: { version: number }, b: { version: number }) => a.version - b.version;
  const reasons = report.problems.sort(byVersion).map(({ reason }: { reason: string }) => reason);
  expect(reasons).toEqual([
    expect.stringContaining('what arrived is not what was recorded'),
    expect.stringContaining('it is not in the bucket'),
    expect.stringContaining('it holds other content'),
    expect.stringContaining('it never got to the cloud'),
  ]);
  const text = await runCli(['restore', projectId], settings);
  expect(text.code).toBe(3);
  expect(text.stdout).toContain('here      1');
  expect(text.stdout).toContain('v5       Cannot restore');
  const storage = await open(bucket, { storePath: settings.FILE_STORAGE_PATH });
  expect((await storage.list(projectId)).items.map(({ version }) => version)).toEqual([4]);
  // What could not be had has its version all the same.
  const next = await storage.save({ projectId, files: { n: '1' } });
  expect(next.version).toBe(6);
});

test('into a store that has some of it: what is here stays, what was taken out of it is back', async () => {
  const { bucket, projectId, receipts } = await saved(4);
  const [one, two, three, four] = receipts as [Receipt, Receipt, Receipt, Receipt];
  const storage = await open(bucket);
  await storage.restore({ projectId });
  await evict(storage);
  // Saved here, on its way, or deleted here while the cloud was away: this host's word counts.
  await storage.save({ ...one, files: filesOf(1), metadata: { i: 1 } });
  await quiet(storage);
  const { storePath } = await storage.status();
  await storage.close();
  const offline = await openTestStorage({ storePath });
  await offline.delete(four);
  await offline.close();
  const again = await openTestStorage({ storePath, cloud: testCloud(bucket), background: false });
  expect(await again.restore({ projectId, dryRun: true })).toMatchObject({ restored: 2, there: 2 });
  const path = join(storePath, projectId, `generations/v2__${two.generationId}`);
  expect(existsSync(path)).toBe(false);
  expect(await again.restore({ projectId })).toMatchObject({ restored: 2, there: 2, failed: 0 });
  await expectAll(again, [one, two, three]);
  await expect(again.get(four)).rejects.toMatchObject({ code: 'not_found' });
});

test('a version that another generation has here is a conflict, and stays', async () => {
  const { bucket, projectId } = await saved(1);
  const local = await openTestStorage();
  const mine = await local.save({ projectId, version: 1, generationId: 'mine', files: { m: '1' } });
  const { storePath } = await local.status();
  await local.close();
  const storage = await open(bucket, { storePath, background: false });
  expect(await storage.restore({ projectId })).toMatchObject({
    failed: 1,
    problems: [{ version: 1, reason: expect.stringContaining('held by generation "mine"') }],
  });
  expect(await textsOf(storage, mine)).toEqual({ m: '1' });
});

test('several at once, in one process and in two, get each once', async () => {
  const { bucket, projectId, receipts } = await saved(8);
  const storePath = await tempFolder();
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const [one, two] = [
    await openTestStorage({ storePath, cloud }),
    await openTestStorage({ storePath, cloud }),
  ];
  const reports = await Promise.all(
    [one, one, two].map((storage) => storage!.restore({ projectId, concurrency: 3 })),
  );
  for (const report of reports) expect(report).toMatchObject({ found: 8, failed: 0 });
  const sum = reports.reduce((count, { restored }) => count + restored, 0);
  expect(sum).toBe(8);
  expect(downloads(proxy)).toHaveLength(8);
  await expectAll(one!, receipts);
});

const downloads = ({ seen }: Pick<FaultProxy, 'seen'>) =>
  seen.filter((line) => /^GET \/storage\/v1\/object\/.*\.tar\.gz/.test(line));

/** Ends once it is, also where it was before. */
const aborted = async (signal: AbortSignal) => signal.aborted || once(signal, 'abort');

/** Does something when so many archives have been asked for: that one waits for it. */
function whenFetching(proxy: FaultProxy, count: number, work: () => Promise<unknown>): void {
  proxy.delay = async (line) => {
    if (downloads({ seen: [line] }).length > 0 && downloads(proxy).length === count) await work();
  };
}

test.each([
  { kind: 'flip', at: 30 },
  { kind: 'answer', status: 503 },
  { kind: 'truncate', afterBytes: 10 },
  { kind: 'down' },
] as const)('what does not come, or comes damaged, is asked for again: $kind', async (fault) => {
  const { bucket, projectId, receipts } = await saved(2);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const storage = await openTestStorage({ cloud, random: () => 0 });
  proxy.rule = first(1, /\.tar\.gz$/, fault);
  const report = await storage.restore({ projectId, concurrency: 1 });
  expect(report).toMatchObject({ restored: 2, failed: 0 });
  expect(downloads(proxy)).toHaveLength(3);
  await expectAll(storage, receipts);
});

test('no more are fetched at once than is said, and one that is slow holds up no other', async () => {
  const { bucket, projectId } = await saved(12);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const storage = await openTestStorage({ cloud, background: false });
  let [now, most] = [0, 0];
  const ready = Promise.withResolvers<void>();
  const isDownload = (line: string) => downloads({ seen: [line] }).length > 0;
  proxy.delay = async (line) => {
    if (!isDownload(line)) return;
    most = Math.max(most, ++now);
    // The first is held until two others were put in place beside it.
    if (downloads(proxy).length === 1) await ready.promise;
  };
  proxy.hold = async (line) => {
    if (isDownload(line)) now--;
  };
  const onProgress = ({ done }: { done: number }) => (done >= 2 ? ready.resolve() : undefined);
  const report = await storage.restore({ projectId, concurrency: 2, onProgress });
  expect(report).toMatchObject({ restored: 12, failed: 0 });
  expect(most).toBe(2);
});

test('what is asked for again has its turn like any other', async () => {
  const { bucket, projectId } = await saved(8);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const storage = await openTestStorage({ cloud, random: () => 0, background: false });
  proxy.rule = first(8, /\.tar\.gz$/, { kind: 'answer', status: 503 });
  let [now, most] = [0, 0];
  const isDownload = (line: string) => downloads({ seen: [line] }).length > 0;
  const twoAreThere = Promise.withResolvers<void>();
  proxy.delay = async (line) => {
    if (!isDownload(line)) return;
    most = Math.max(most, ++now);
    if (downloads(proxy).length <= 8) return;
    if (now === 2) twoAreThere.resolve();
    await twoAreThere.promise;
    // Whoever else was about to come is there by then.
    for (let i = 0; i < 50; i++) await setImmediate();
  };
  proxy.hold = async (line) => {
    if (isDownload(line)) now--;
  };
  const report = await storage.restore({ projectId, concurrency: 2 });
  expect(report).toMatchObject({ restored: 8, failed: 0 });
  expect(downloads(proxy)).toHaveLength(16);
  expect(most).toBe(2);
});

test('a cloud that stays away ends it, and the same call goes on', async () => {
  const { bucket, projectId, receipts } = await saved(5);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const storage = await openTestStorage({ cloud, random: () => 0, background: false });
  proxy.rule = (_, path) =>
    downloads(proxy).length > 2 && path.includes('/object/') ? { kind: 'down' } : null;
  await expect(storage.restore({ projectId, concurrency: 1 })).rejects.toMatchObject({
    code: 'unavailable',
  });
  expect((await storage.list(projectId)).items).toHaveLength(2);
  proxy.rule = () => null;
  const report = await storage.restore({ projectId });
  expect(report).toMatchObject({ restored: 3, there: 2, failed: 0 });
  await expectAll(storage, receipts);
});

test('it is stopped after those that are under way', async () => {
  const { bucket, projectId, receipts } = await saved(6);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const storage = await openTestStorage({ cloud: { ...testCloud(bucket), url: proxy.url } });
  const stop = new AbortController();
  whenFetching(proxy, 3, () => aborted(stop.signal));
  const seen: number[] = [];
  const report = await storage.restore({
    ...{ projectId, concurrency: 1, signal: stop.signal },
    onProgress: ({ done, total }) => {
      expect(total).toBe(6);
      seen.push(done);
      if (done === 2) stop.abort();
    },
  });
  expect(report).toMatchObject({ restored: 3, stopped: true, failed: 0 });
  expect(seen).toEqual([1, 2, 3]);
  expect(downloads(proxy)).toHaveLength(3);
  expect(await storage.restore({ projectId })).toMatchObject({ restored: 3, there: 3 });
  await expectAll(storage, receipts);
});

bySecretKey(
  'without our tables it says so, and what the cloud has is listed by the command',
  async () => {
    const { projectId, env, bucket } = await saved(2);
    const settings = await env();
    const listed = await runCli(['list', projectId, '--cloud', '--json'], settings);
    expect(JSON.parse(listed.stdout).items).toMatchObject([
      { version: 1, status: 'verified' },
      { version: 2, status: 'verified' },
    ]);
    expect(existsSync(settings.FILE_STORAGE_PATH)).toBe(false);
    const page = await runCli(['list', projectId, '--cloud', '--limit', '1', '--json'], settings);
    expect(JSON.parse(page.stdout)).toMatchObject({ items: [{ version: 1 }], next_cursor: 1 });
    const none = await runCli(['list', uniqueId(), '--cloud'], settings);
    expect([none.code, none.stderr]).toEqual([4, expect.stringContaining('knows nothing of it')]);
    const off = await runCli(['restore'], { ...settings, USE_CLOUD_STORAGE: 'false' });
    expect([off.code, off.stderr]).toEqual([5, expect.stringContaining('the cloud is off')]);

    const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
    proxy.rule = (_, path) =>
      path.includes('/rest/v1/rpc/')
        ? { kind: 'answer', status: 404, body: { code: 'PGRST202', message: 'no function' } }
        : null;
    const storage = await open(bucket, { cloud: { ...testCloud(bucket), url: proxy.url } });
    await expect(storage.restore()).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('--from-bucket'),
    });
  },
);

bySecretKey(
  'from the bucket: what is no archive of ours is named, and the database learns of the rest',
  async () => {
    const { bucket, projectId, receipts, storage: host } = await saved(3);
    await host.activate(receipts[1]!);
    await host.exchangeActive();
    await host.writeProjectFiles();
    await host.close();
    const objects = serviceClient().storage.from(bucket);
    const file = await objects.download(`${projectId}/project.json`);
    expect(JSON.parse(await file.data!.text())).toMatchObject({
      ...{ schema: 1, project_id: projectId, latest_version: 3 },
      active: { version: 2, generation_id: receipts[1]!.generationId },
    });
    await forget(projectId);
    const garbage = { contentType: 'application/gzip' };
    await objects.upload(`${projectId}/generations/v9__x.tar.gz`, 'garbage', garbage);
    await objects.upload(`${projectId}/generations/readme.txt`, 'no archive', garbage);
    const storage = await open(bucket);
    const report = await storage.restore({ projectId, fromBucket: true });
    expect(report).toMatchObject({ found: 4, restored: 3, failed: 1, problems: [{ version: 9 }] });
    await quiet(storage);
    await storage.exchangeActive();
    await expectAll(storage, receipts);
    const project = serviceClient().from('storage_projects').select('active_version');
    expect((await project.eq('id', projectId)).data).toEqual([{ active_version: 2 }]);
  },
);

bySecretKey(
  'an archive that was put under the name of another generation does not take its place',
  async () => {
    const { bucket, projectId, receipts } = await saved(2);
    const [one, two] = receipts as [Receipt, Receipt];
    const objects = serviceClient().storage.from(bucket);
    const bytes = await (await objects.download(keyOf(two))).data!.arrayBuffer();
    await objects.remove([keyOf(one)]);
    await objects.upload(keyOf(one), bytes, { contentType: 'application/gzip' });
    const storage = await open(bucket, { background: false });
    const report = await storage.restore({ projectId, fromBucket: true });
    expect(report).toMatchObject({ restored: 1, failed: 1 });
    expect(report.problems[0]).toMatchObject({ version: 1, reason: expect.stringContaining('v2') });
  },
);

test('an undeleted generation lies on its host again', async () => {
  const { storage, projectId, receipts } = await saved(1);
  const [receipt] = receipts as [Receipt];
  const { storePath } = await storage.status();
  const path = join(storePath, projectId, `generations/v1__${receipt.generationId}/archive.tar.gz`);
  const before = readFileSync(path);
  await storage.delete(receipt);
  await quiet(storage);
  expect(existsSync(path)).toBe(false);
  await storage.undelete(receipt);
  expect(readFileSync(path)).toEqual(before);
  await storage.delete(receipt);
  await quiet(storage);
  const undone = { p_project_id: projectId, p_version: 1, p_generation_id: receipt.generationId };
  await serviceClient().rpc('storage_undelete', { ...undone, p_digest: null });
  await storage.learnChanges();
  expect(readFileSync(path)).toEqual(before);
});

bySecretKey(
  'what the Python system packed comes as it laid it down, and can be migrated',
  async () => {
    const bucket = uniqueId('bucket');
    const projectId = uniqueId();
    const python = new PythonStore(await tempFolder());
    const ref = { projectId, version: 1, generationId: 'old' };
    const files = { 'main.py': 'print(1)\n', 'd/ü.txt': 'ü' };
    python.archived(ref, files);
    const archive = readFileSync(join(python.root, projectId, 'archive/v1__old.tar.gz'));
    const objects = serviceClient().storage;
    await objects.createBucket(bucket, { public: false });
    await objects.from(bucket).upload(`${projectId}/generations/v1__old.tar.gz`, archive);
    const other = await open(bucket);
    await other.recordArchive(ref, `${projectId}/generations/v1__old.tar.gz`, null);
    for (const fromBucket of [false, true]) {
      const storage = await open(bucket, { background: false });
      const report = await storage.restore({ projectId, fromBucket });
      expect(report).toMatchObject({ restored: 1, failed: 0 });
      expect(await textsOf(storage, ref)).toEqual(files);
      expect((await storage.list(projectId)).items).toMatchObject([
        { version: 1, status: 'local' },
      ]);
      await storage.close();
    }
  },
);

/** Runs a restore of a project, and does something once the first archive is asked for. */
async function restoreWhile(
  { bucket, projectId }: { bucket: string; projectId: string },
  work: () => Promise<unknown>,
): Promise<Storage> {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(bucket), url: proxy.url };
  const storage = await openTestStorage({ cloud, background: false });
  const worked = vi.fn(work);
  whenFetching(proxy, 1, async () => {
    await worked();
    // A look at the feed in the midst of it: what is not here yet is passed over.
    await storage.learnChanges();
  });
  await storage.restore({ projectId, concurrency: 1 });
  expect(worked).toHaveBeenCalledOnce();
  return storage;
}

test('what is deleted, undeleted or replaced while it comes is as the cloud has it then', async () => {
  const place = await saved(4);
  const { storage: host, projectId, receipts } = place;
  const [, two, three, four] = receipts as [Receipt, Receipt, Receipt, Receipt];
  await host.delete(four);
  await quiet(host);
  const storage = await restoreWhile(place, async () => {
    await host.delete(two);
    await host.undelete(four);
    const { version, generationId } = three;
    const replaced = { projectId, version, generationId, files: { r: 'eplaced' }, replace: true };
    await host.save(replaced);
    await quiet(host);
  });
  await storage.learnChanges();
  const { items } = await storage.list(projectId);
  expect(items.map(({ version }) => version)).toEqual([4, 3, 1]);
  await expect(storage.get(two)).rejects.toMatchObject({ code: 'not_found' });
  expect(await textsOf(storage, four)).toEqual(filesOf(4));
  expect(await textsOf(storage, three)).toEqual({ r: 'eplaced' });
});

bySecretKey(
  'from the bucket: a project is of whom it was given to, and replaced content stays replaced',
  async () => {
    const { bucket, projectId, receipts, storage: host } = await saved(2);
    const [first, second] = ['a', 'b'].map((c) => `${c.repeat(8)}-aaaa-4aaa-8aaa-aaaaaaaaaaaa`);
    const named = { projectId, version: 3, generationId: 'g3', ownerId: first! };
    await host.save({ ...named, files: { old: '1' } });
    await quiet(host);
    await host.save({ ...named, files: { new: '1' }, replace: true });
    await quiet(host);
    await host.setOwner(projectId, second!, { transfer: true });
    await host.delete(receipts[0]!);
    await quiet(host);
    await host.writeProjectFiles();
    await host.close();
    await forget(projectId);
    const storage = await open(bucket);
    expect(await storage.restore({ projectId, fromBucket: true })).toMatchObject({
      ...{ found: 2, restored: 2, deleted: 1, failed: 0 },
    });
    await quiet(storage);
    expect((await storage.list(projectId)).items.map(({ version }) => version)).toEqual([3, 2]);
    expect(await textsOf(storage, named)).toEqual({ new: '1' });
    const owner = serviceClient().from('storage_projects').select('owner_id').eq('id', projectId);
    expect((await owner).data).toEqual([{ owner_id: second }]);
    const rows = serviceClient().from('storage_generations').select('version, status');
    expect((await rows.eq('project_id', projectId).order('version')).data).toEqual([
      { version: 1, status: 'deleted' },
      { version: 2, status: 'verified' },
      { version: 3, status: 'verified' },
    ]);
  },
);

bySecretKey(
  'from the bucket: a restore that was stopped goes by what the file said at first',
  async () => {
    const { bucket, projectId, receipts, storage: host } = await saved(4);
    await host.activate(receipts[2]!);
    await host.delete(receipts[1]!);
    await quiet(host);
    await host.exchangeActive();
    await host.writeProjectFiles();
    await host.close();
    await forget(projectId);
    const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
    const storage = await openTestStorage({ cloud: { ...testCloud(bucket), url: proxy.url } });
    const stop = new AbortController();
    whenFetching(proxy, 2, () => aborted(stop.signal));
    const one = { projectId, fromBucket: true, concurrency: 1 };
    const stopped = { ...one, signal: stop.signal, onProgress: () => stop.abort() };
    expect(await storage.restore(stopped)).toMatchObject({ restored: 2, stopped: true });
    await quiet(storage);
    // The database knows two of four, and the file says no more than that.
    await storage.writeProjectFiles();
    await storage.close();
    const other = await open(bucket);
    expect(await other.restore(one)).toMatchObject({ found: 3, failed: 0, deleted: 1 });
    expect((await other.list(projectId)).items.map(({ version }) => version)).toEqual([4, 3, 1]);
    expect(await other.activeVersion(projectId)).toBe(3);
    const left = await serviceClient().storage.from(bucket).list(projectId);
    expect(left.data!.map(({ name }) => name).sort()).toEqual(['generations', 'project.json']);
  },
);

bySecretKey(
  'from the bucket: a file that cannot be read has nothing of its project taken for what is there',
  async () => {
    const { bucket, projectId } = await saved(2);
    await forget(projectId);
    const objects = serviceClient().storage.from(bucket);
    const json = { contentType: 'application/json', upsert: true };
    for (const text of [
      '{',
      '{"schema": 2}',
      `{"schema":1,"project_id":"${projectId}","latest_version":4e9}`,
    ]) {
      await objects.upload(`${projectId}/project.json`, text, json);
      const storage = await open(bucket, { background: false });
      const report = await storage.restore({ projectId, fromBucket: true });
      expect(report).toMatchObject({ found: 2, restored: 0, failed: 2 });
      expect(report.problems[0]!.reason).toContain('project.json');
    }
  },
);

bySecretKey(
  'from the bucket: of a project without archives the versions are taken, and its owner is known',
  async () => {
    const { bucket, projectId, receipts, storage: host } = await saved(2);
    const owner = 'cccccccc-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
    await host.setOwner(projectId, owner);
    for (const receipt of receipts) await host.delete(receipt);
    await quiet(host);
    await host.writeProjectFiles();
    await host.close();
    const keys = receipts.map(keyOf);
    await serviceClient().storage.from(bucket).remove(keys);
    await forget(projectId);
    const storage = await open(bucket, { background: false });
    const report = await storage.restore({ fromBucket: true });
    expect(report).toMatchObject({ found: 0, deleted: 2, failed: 0 });
    expect((await storage.save({ projectId, files: { n: '1' } })).version).toBe(3);
    const [project] = (await storage.listProjects()).items;
    expect(project).toMatchObject({ projectId, ownerId: owner });
  },
);
