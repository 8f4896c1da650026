import type { Cache } from '../cache/cache.ts';
import type { Cached } from '../cache/entries.ts';
import { readEntry } from '../cache/entry.ts';
import type { Tell } from '../events/events.ts';
import { type Evictable, type Evicted, evictLeastUsed, type KeepLimits } from './evict.ts';

type Parts = Readonly<{ cache: Cache; now: () => number; onEvent: Tell }>;

/** Evicts copies from the cloud, each of which can be fetched again, as {@link evictLeastUsed} does. */
export async function evictCached(parts: Parts, limits: KeepLimits | null): Promise<Evicted> {
  const { cache, now, onEvent } = parts;
  const list = async () => [...cache.entries.list()].map((cached) => toEvict(cache, cached));
  const { root } = cache.entries.layout;
  const { evicted, bytes } = await evictLeastUsed(list, { root, limits, now });
  if (evicted > 0) onEvent({ kind: 'store.evicted', from: 'cache', generations: evicted, bytes });
  return { evicted, bytes };
}

function toEvict(cache: Cache, { ref, path, entry }: Cached): Evictable {
  // What is no entry, or none any more, was never used.
  const usedAt = entry?.usedAt ?? 0;
  const evict = async () => {
    // It may have been handed out since it was listed.
    if ((readEntry(ref, path)?.usedAt ?? 0) !== usedAt) return false;
    await cache.entries.discard(path);
    return true;
  };
  return { bytes: entry === null ? 0 : cache.bytesOf(entry), usedAt, evict };
}
