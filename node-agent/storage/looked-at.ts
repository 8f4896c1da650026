/** What has to be looked at on disk, one after another: others get their turn meanwhile. */
import { setImmediate as breathe } from 'node:timers/promises';
import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Store } from '../store/store.ts';

/** So many are looked at before others get their turn. */
const AT_ONCE = 500;
const EVERY_TIME = '9999-12-31T00:00:00Z';

/** Generations that lie in the bucket and not in the store. */
export async function* onlyInCloud(catalog: Catalog, store: Store): AsyncGenerator<GenerationRow> {
  for await (const row of inTurns(catalog.generations.evictable(EVERY_TIME))) {
    if (!store.has(refOf(row))) yield row;
  }
}

/** The bytes of each cached copy. */
export async function* cachedBytes(cache: Cache): AsyncGenerator<number> {
  for await (const { entry } of inTurns(cache.entries.list())) {
    if (entry !== null) yield cache.bytesOf(entry);
  }
}

async function* inTurns<T>(items: Iterable<T>): AsyncGenerator<T> {
  let looked = 0;
  for (const item of items) {
    yield item;
    looked++;
    if (looked % AT_ONCE === 0) await breathe();
  }
}
