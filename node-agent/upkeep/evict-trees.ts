import { statfs } from 'node:fs/promises';
import { setImmediate as breathe } from 'node:timers/promises';
import { IN_USE_MS } from '../cache/cache.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import type { LaidOut } from '../store/trees.ts';
import type { Locks } from './locks.ts';

/** What the file system is to have left, of its bytes and of its inodes. */
const LEFT = 0.1;

/** What is kept of trees, as of cached copies. */
export type TreeLimits = Readonly<{ maxAgeMs: number; maxBytes: number }>;

type Parts = Readonly<{
  store: Store;
  locks: Locks;
  now: () => number;
  onEvent: Tell;
}>;

/**
 * Removes trees, the least recently used first: those that are too old or too much, and as long as the
 * file system is nearly full any. Each can be laid out again from its archive. Never one that was handed
 * out in the last ten minutes, nor the active one of a project.
 *
 * @param limits `null`: only where the file system is nearly full
 */
export async function evictTrees(
  parts: Parts,
  limits: TreeLimits | null,
): Promise<{ evicted: number; bytes: number }> {
  const { store, now, onEvent } = parts;
  const result = { evicted: 0, bytes: 0 };
  if (limits === null && !(await isNearlyFull(store.layout.root))) return result;
  const trees: LaidOut[] = [];
  for (const projectId of await store.listProjects()) {
    trees.push(...store.trees.list(projectId));
    await breathe();
  }
  trees.sort((a, b) => a.usedAt - b.usedAt);
  let total = trees.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const tree of trees) {
    const idle = now() - tree.usedAt;
    if (idle >= 0 && idle < IN_USE_MS) continue;
    const isTooMuch = limits !== null && (idle >= limits.maxAgeMs || total > limits.maxBytes);
    if (!isTooMuch && !(await isNearlyFull(store.layout.root))) {
      // Of those that are younger none is too old.
      break;
    }
    if (!(await evict(parts, tree))) continue;
    total -= tree.bytes;
    result.evicted++;
    result.bytes += tree.bytes;
  }
  const { evicted, bytes } = result;
  if (evicted > 0) onEvent({ kind: 'evict', from: 'trees', generations: evicted, bytes });
  return result;
}

async function evict({ store, locks }: Parts, { ref, usedAt }: LaidOut): Promise<boolean> {
  // Whoever makes it the active one asks for the tree first: it is in use then.
  if (store.active.find(ref.projectId) === ref.version) return false;
  const unlock = await locks.lock(ref);
  if (unlock === null) return false;
  try {
    return await store.trees.drop(ref, usedAt);
  } finally {
    await unlock();
  }
}

async function isNearlyFull(root: string): Promise<boolean> {
  const { bavail, blocks, ffree, files } = await statfs(root);
  // File systems that make inodes as they are needed say 0.
  return bavail < blocks * LEFT || (files > 0 && ffree < files * LEFT);
}
