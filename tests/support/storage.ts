import { setTimeout as sleep } from 'node:timers/promises';
import { inject, onTestFinished } from 'vitest';
import {
  openStorage,
  type Receipt,
  type RefInput,
  type Storage,
  type StorageOptions,
  type Summary,
} from '../../node-agent/index.ts';
import { tempFolder } from './temp.ts';

/** A storage of its own for a test, without a cloud unless one is given. */
export async function openTestStorage(options: Partial<StorageOptions> = {}): Promise<Storage> {
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
  return { url: stack.SUPABASE_URL, key: stack.SUPABASE_SERVICE_KEY, bucket };
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
