import type { Cache } from '../cache/cache.ts';
import type { Tell } from '../events/events.ts';

/** Evicts cached copies that are too old or too much, never one that may be in use. */
export async function evictCached({
  cache,
  onEvent,
}: Readonly<{ cache: Cache; onEvent: Tell }>): Promise<{ evicted: number; bytes: number }> {
  const { evicted, bytes } = await cache.cleanup();
  if (evicted > 0) onEvent({ kind: 'evict', from: 'cache', generations: evicted, bytes });
  return { evicted, bytes };
}
