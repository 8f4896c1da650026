import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject, onTestFinished } from 'vitest';
import { formatHostKey } from '../../node-agent/contract.ts';
import {
  openStorage,
  type Receipt,
  type RefInput,
  type Storage,
  type StorageOptions,
  type Summary,
} from '../../node-agent/index.ts';
import { isByHostKey } from './by-host-key.ts';
import { serviceClient } from './cloud.ts';
import { tempFolder } from './temp.ts';

/** A storage of its own for a test, without a cloud unless one is given. */
export async function openTestStorage(options: Partial<StorageOptions> = {}): Promise<Storage> {
  if (isByHostKey && options.cloud != null) await addHostOf(options.cloud);
  const storage = await openStorage({
    storePath: options.storePath ?? (await tempFolder()),
    cloud: null,
    uploadConcurrency: 4,
    cache: await testCache(),
    cleanupEveryMs: null,
    ...options,
  });
  onTestFinished(() => storage.close({ drainMs: 0 }));
  return storage;
}

/** A cache of its own for a test. */
export async function testCache(options: Partial<StorageOptions['cache']> = {}) {
  const hour = 3_600_000;
  return { path: await tempFolder(), ttlMs: hour, maxAgeMs: 2 * hour, maxBytes: 1e9, ...options };
}

/** The shared stack as the cloud of an agent, with a bucket of the test's own. */
export function testCloud(bucket: string) {
  const stack = inject('stack');
  const key = isByHostKey ? hostKeyOf(bucket) : stack.SUPABASE_SERVICE_KEY;
  return { url: stack.SUPABASE_URL, key, bucket };
}

/** The same each time. */
export const hostKeyOf = (bucket: string) =>
  formatHostKey(createHash('sha256').update(bucket).digest('base64url'));

/** Has the key be one. */
async function addHostOf({ key, bucket }: { key: string; bucket: string }): Promise<void> {
  if (key !== hostKeyOf(bucket)) return;
  const { error } = await serviceClient().rpc('storage_add_host', {
    ...{ p_name: bucket, p_sha256: createHash('sha256').update(key).digest('hex') },
    ...{ p_read: 'own', p_delete: 'own', p_bucket: bucket },
  });
  if (error !== null) throw new Error(error.message);
}

/** What was saved, and what its archive is: made now, where it is not yet. */
export async function settled(storage: Storage, saved: Receipt | Promise<Receipt>) {
  const receipt = await saved;
  const { sha256, bytes: archiveBytes } = await storage.archive(receipt);
  return { ...receipt, sha256, archiveBytes };
}

/** Waits until a generation has a status. */
export async function waitForStatus(
  storage: Storage,
  ref: RefInput,
  status: Summary['status'],
): Promise<Summary> {
  for (;;) {
    const summary = await storage.show(ref);
    if (summary.status === status) return summary;
    if (summary.status === 'failed') throw new Error(summary.failure ?? 'failed');
    await storage.drain(1000);
    await sleep(10);
  }
}
