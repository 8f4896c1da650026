/** One notion of what is active: said on a host or by the web app's user, followed by all. */
import { existsSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStorage, readConfig, type StorageError } from '../../node-agent/index.ts';
import { makeUser, serviceClient, type TestUser, uniqueId, userClient } from '../support/cloud.ts';
import { hostEnvironment } from '../support/host.ts';
import { PythonStore } from '../support/python-store.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';

async function makeProject() {
  const owner = await makeUser();
  const projectId = uniqueId();
  const cloud = testCloud(uniqueId('bucket'));
  const host = () => openTestStorage({ cloud, background: true });
  const storage = await host();
  for (const version of [1, 2, 3]) {
    await storage.save({
      projectId,
      version,
      generationId: `g-${version}`,
      ownerId: owner.id,
      files: { a: `${version}` },
    });
    await waitForStatus(storage, { projectId, version }, 'verified');
  }
  return { owner, projectId, cloud, storage };
}

const activeInCloud = async (projectId: string) => {
  const rows = serviceClient().from('storage_projects').select('active_version');
  return (await rows.eq('id', projectId).single()).data?.active_version;
};
const activateAs = async (owner: TestUser, projectId: string, version: number) => {
  const args = { p_project_id: projectId, p_version: version };
  const { data, error } = await userClient(owner).rpc('storage_activate_generation', args);
  expect([data, error]).toEqual([true, null]);
};

test('what a host makes active is so in the cloud; what the user makes active is so on the host', async () => {
  const { owner, projectId, storage } = await makeProject();
  await storage.activate({ projectId, version: 1 });
  expect(await activeInCloud(projectId)).toBe(1);
  await activateAs(owner, projectId, 3);
  expect(await storage.exchangeActive()).toBe(1);
  expect(await storage.activeVersion(projectId)).toBe(3);
  // Its files are where the link leads.
  expect((await storage.get({ projectId, version: 3 })).from).toBe('store');
  // Nobody tells each other the same for ever.
  expect(await storage.exchangeActive()).toBe(0);
  await storage.activate({ projectId, version: 2 });
  expect([await activeInCloud(projectId), await storage.activeVersion(projectId)]).toEqual([2, 2]);
});

test('the last word counts, by when it was said, not by when it arrives', async () => {
  const { owner, projectId, storage, cloud } = await makeProject();
  const { storePath } = await storage.status();
  await storage.close();
  // Said while the cloud is off.
  const offline = await openTestStorage({ storePath });
  await offline.activate({ projectId, version: 1 });
  await offline.close();
  await activateAs(owner, projectId, 2);
  const online = await openTestStorage({ storePath, cloud, background: false });
  expect(await online.exchangeActive()).toBe(1);
  expect([await activeInCloud(projectId), await online.activeVersion(projectId)]).toEqual([2, 2]);
  await online.close();

  const again = await openTestStorage({ storePath });
  await again.activate({ projectId, version: 3 });
  await again.close();
  const back = await openTestStorage({ storePath, cloud, background: false });
  expect(await back.exchangeActive()).toBe(0);
  expect([await activeInCloud(projectId), await back.activeVersion(projectId)]).toEqual([3, 3]);
});

test('what is not in the cloud yet is told once it is; what the Python system said is told too', async () => {
  const env = await hostEnvironment();
  const project = uniqueId();
  const old = new PythonStore(env.FILE_STORAGE_PATH);
  for (const version of [1, 2]) {
    old.versioned(
      { projectId: project, version, generationId: `g-${version}` },
      { a: `${version}` },
    );
  }
  old.activate({ projectId: project, version: 2, generationId: 'g-2' });
  expect((await runCli(['migrate'], env)).code).toBe(0);
  const storage = await openStorage({ ...readConfig(env), background: false });
  await storage.list(project);
  await storage.exchangeActive();
  await storage.close();
  expect(await activeInCloud(project)).toBe(2);

  const away = { ...env, USE_CLOUD_STORAGE: 'false' };
  const { stdout } = await runCli(['save', 'docs/examples', '--project', project, '--json'], away);
  const { version } = JSON.parse(stdout);
  expect((await runCli(['activate', project, `${version}`], away)).code).toBe(0);
  const online = await openStorage(readConfig(env));
  await online.exchangeActive();
  await waitForStatus(online, { projectId: project, version }, 'verified');
  await online.exchangeActive();
  await online.close();
  expect(await activeInCloud(project)).toBe(version);
});

test('a link whose generation the user deletes goes, in the cloud and here', async () => {
  const { owner, projectId, storage } = await makeProject();
  await storage.activate({ projectId, version: 1 });
  const { storePath } = await storage.status();
  expect(readlinkSync(join(storePath, projectId, 'generations/active'))).toBe('v1__g-1');
  await userClient(owner).rpc('storage_delete_generation', {
    p_project_id: projectId,
    p_version: 1,
  });
  await storage.learnChanges();
  await storage.exchangeActive();
  expect([await activeInCloud(projectId), await storage.activeVersion(projectId)]).toEqual([
    null,
    null,
  ]);
});

test('a host whose clock is ahead follows what the user says later', async () => {
  const { owner, projectId, storage, cloud } = await makeProject();
  const { storePath } = await storage.status();
  await storage.close();
  const now = () => Date.now() + 3_600_000;
  const ahead = await openTestStorage({ storePath, cloud, background: false, now });
  await ahead.activate({ projectId, version: 1 });
  await ahead.close();
  await activateAs(owner, projectId, 3);
  const good = await openTestStorage({ storePath, cloud, background: false });
  await good.exchangeActive();
  expect([await activeInCloud(projectId), await good.activeVersion(projectId)]).toEqual([3, 3]);
});

test('a database that lost what is active is told again', async () => {
  const { projectId, storage } = await makeProject();
  await storage.activate({ projectId, version: 2 });
  const lost = { active_version: null, activated_at: null, active_noted_at: null };
  const rows = serviceClient().from('storage_projects').update(lost);
  expect((await rows.eq('id', projectId)).error).toBeNull();
  await storage.resend();
  await storage.exchangeActive();
  expect(await activeInCloud(projectId)).toBe(2);
});

test('what becomes active while it is taken out of the store stays, or cannot be made active', async () => {
  const { projectId, storage } = await makeProject();
  const { storePath } = await storage.status();
  const evicting = storage.cleanupStore({ olderThanMs: -1000 });
  const code = await storage.activate({ projectId, version: 1 }).then(
    () => null,
    (error: StorageError) => error.code,
  );
  await evicting;
  const active = join(storePath, projectId, 'generations', 'active');
  // Whichever was first: no link leads to nothing.
  expect([null, 'not_found']).toContain(code);
  expect(existsSync(join(active, 'manifest.json'))).toBe(code === null);
  expect(await storage.activeVersion(projectId)).toBe(code === null ? 1 : null);
});
