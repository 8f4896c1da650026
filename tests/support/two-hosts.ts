/** Hosts on one cloud, and what is done to the cloud behind their back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, inject } from 'vitest';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import type { RefInput, Storage, StorageOptions } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from './cloud.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { openTestStorage, testCloud } from './storage.ts';
import { tempFolder } from './temp.ts';
import { readTexts } from './tree.ts';

/** A ref in a project of its own. */
export const newRef = () => ({ projectId: uniqueId(), version: 1, generationId: 'g' });

/** A host of its own, on a way to the cloud that can be made to fail. */
export async function startHost(bucket: string, options: Partial<StorageOptions> = {}) {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const events: StorageEvent[] = [];
  const problems: Error[] = [];
  const storePath = options.storePath ?? (await tempFolder());
  const storage = await openTestStorage({
    storePath,
    cloud: { ...testCloud(bucket), url: proxy.url },
    onEvent: (event) => events.push(event),
    onProblem: (error) => problems.push(error as Error),
    random: () => 0,
    ...options,
  });
  return { storage, proxy, events, problems, storePath };
}

/** Waits until something is so. */
export async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await sleep(10);
}

/** Waits until nothing is owed any more but what is parked. */
export async function quiet(storage: Storage): Promise<void> {
  await until(async () => {
    await storage.drain(1000);
    return (await storage.status()).outbox.owed === 0;
  });
}

/** The rows of a project. */
export async function rowsOf(projectId: string, columns = 'digest, status, object_key') {
  const rows = serviceClient().from('storage_generations').select(columns);
  return (await rows.eq('project_id', projectId)).data as unknown as Record<string, unknown>[];
}

/** The keys of what lies in the bucket of a project, without what is kept of deletions and replacements. */
export async function keysOf(bucket: string, projectId: string): Promise<string[]> {
  const { data } = await serviceClient().storage.from(bucket).list(`${projectId}/generations`);
  const keys = (data ?? []).map(({ name }) => `${projectId}/generations/${name}`);
  const archives = serviceClient().from('storage_archives').select('object_key');
  const kept = await archives.match({ project_id: projectId, bucket, state: 'kept' });
  const isKept = new Set((kept.data ?? []).map(({ object_key }) => object_key));
  return keys.filter((key) => !isKept.has(key));
}

export const textsOf = async (storage: Storage, ref: RefInput) =>
  readTexts((await storage.get(ref)).sourcePath);

/** Takes what is in the cloud out of the store, once its tree lasts. */
export async function evict(storage: Storage): Promise<void> {
  await until(async () => (await storage.cleanupStore({ olderThanMs: -1000 })).evicted > 0);
}

/** Has the database know nothing of a project, as one that was put back. The bucket stays as it is. */
export async function forget(projectId: string): Promise<void> {
  const tables = [
    'storage_archives',
    'storage_manifests',
    'storage_generations',
    'storage_projects',
  ];
  for (const table of tables) {
    const column = table === 'storage_projects' ? 'id' : 'project_id';
    const { error } = await serviceClient().from(table).delete().eq(column, projectId);
    expect(error).toBeNull();
  }
}

/** Puts other bytes in the place of an object. */
export async function overwrite(bucket: string, key: string, bytes = 'garbage'): Promise<void> {
  const options = { upsert: true, contentType: 'application/gzip' };
  const { error } = await serviceClient().storage.from(bucket).upload(key, bytes, options);
  expect(error).toBeNull();
}
