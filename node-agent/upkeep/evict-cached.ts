import type { Cache } from '../cache/cache.ts';
import type { CacheEntry } from '../cache/entry.ts';
import type { Tell } from '../events/events.ts';
import { type Evicted, evictLeastUsed, type KeepLimits } from './evict.ts';

type Parts = Readonly<{ cache: Cache; now: () => number; onEvent: Tell }>;

/** Evicts copies from the cloud, each of which can be fetched again, as {@link evictLeastUsed} does. */
export async function evictCached(
  { cache, now, onEvent }: Parts,
  limits: KeepLimits | null,
): Promise<Evicted> {
  const evict = async (entry: CacheEntry) => {
    // It may have been handed out since it was listed.
    if (cache.find(...keyOf(entry))?.usedAt !== entry.usedAt) return false;
    await cache.evict(entry);
    return true;
  };
  const list = async () =>
    [...cache.entries()].map((entry) => ({ ...entry, evict: () => evict(entry) }));
  const { evicted, bytes } = await evictLeastUsed(list, { root: cache.root, limits, now });
  if (evicted > 0) onEvent({ kind: 'evict', from: 'cache', generations: evicted, bytes });
  return { evicted, bytes };
}

function keyOf({ ref }: CacheEntry) {
  return [ref.projectId, ref.version, ref.generationId] as const;
}
