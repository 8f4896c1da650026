import { setImmediate as breathe } from 'node:timers/promises';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import type { LaidOut } from '../store/trees.ts';
import { type Evictable, type Evicted, evictLeastUsed, type KeepLimits } from './evict.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{
  store: Store;
  locks: Locks;
  now: () => number;
  onEvent: Tell;
}>;

/**
 * Removes trees, each of which can be laid out again from its archive, as {@link evictLeastUsed} does;
 * never the active one of a project.
 */
export async function evictTrees(parts: Parts, limits: KeepLimits | null): Promise<Evicted> {
  const { store, now, onEvent } = parts;
  const list = async () => {
    const trees: Evictable[] = [];
    for (const projectId of await store.listProjects()) {
      for (const tree of store.trees.list(projectId)) {
        trees.push({ ...tree, evict: () => evict(parts, tree) });
      }
      await breathe();
    }
    return trees;
  };
  const { evicted, bytes } = await evictLeastUsed(list, { root: store.layout.root, limits, now });
  if (evicted > 0) onEvent({ kind: 'store.evicted', from: 'trees', generations: evicted, bytes });
  return { evicted, bytes };
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
