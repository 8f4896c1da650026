import { setImmediate as breathe } from 'node:timers/promises';
import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { isInCloud } from '../contract.ts';
import type { Store } from '../store/store.ts';
import { cachedBytes, onlyInCloud } from './looked-at.ts';

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

/** Measures what is kept: the more there is, the longer it takes; others get their turn meanwhile. */
export async function measureSizes({ store, cache, catalog }: Parts): Promise<Sizes> {
  const sizes = { store: 0, trees: 0, cache: 0, bucket: 0 };
  for (const [status, bytes] of catalog.generations.bytesByStatus()) {
    sizes.store += bytes;
    if (isInCloud(status)) sizes.bucket += bytes;
  }
  for await (const row of onlyInCloud(catalog, store)) {
    sizes.store -= row.archive_bytes ?? row.source_bytes ?? 0;
  }
  for (const projectId of await store.listProjects()) {
    for (const { bytes } of store.trees.list(projectId)) sizes.trees += bytes;
    await breathe();
  }
  for await (const bytes of cachedBytes(cache)) sizes.cache += bytes;
  return sizes;
}
