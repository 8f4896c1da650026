import { setImmediate as breathe } from 'node:timers/promises';
import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { refOf } from '../catalog/generation-row.ts';
import { isInCloud } from '../contract.ts';
import type { Store } from '../store/store.ts';

/** Bytes that are kept, by where. */
export type Sizes = Readonly<{
  /** Archives on this host that are originals. */
  store: number;
  /** Files that are laid out from them. */
  trees: number;
  /** Copies from the cloud. */
  cache: number;
  /** Archives of this host's generations in the bucket, as far as it knows. */
  bucket: number;
}>;

type Parts = Readonly<{ store: Store; cache: Cache; catalog: Catalog }>;

/** So many are looked at before others get their turn. */
const AT_ONCE = 500;
const EVERY_TIME = '9999-12-31T00:00:00Z';

/** Measures what is kept: the more there is, the longer it takes; others get their turn meanwhile. */
export async function measureSizes({ store, cache, catalog }: Parts): Promise<Sizes> {
  let looked = 0;
  const breatheNow = async () => {
    looked++;
    if (looked % AT_ONCE === 0) await breathe();
  };
  const sizes = { store: 0, trees: 0, cache: 0, bucket: 0 };
  for (const [status, bytes] of catalog.generations.bytesByStatus()) {
    sizes.store += bytes;
    if (isInCloud(status)) sizes.bucket += bytes;
  }
  for (const row of catalog.generations.evictable(EVERY_TIME)) {
    if (!store.has(refOf(row))) sizes.store -= row.archive_bytes ?? row.source_bytes ?? 0;
    await breatheNow();
  }
  for (const projectId of await store.listProjects()) {
    for (const { bytes } of store.trees.list(projectId)) sizes.trees += bytes;
    await breathe();
  }
  for (const { entry } of cache.entries.list()) {
    if (entry !== null) sizes.cache += cache.bytesOf(entry);
    await breatheNow();
  }
  return sizes;
}
