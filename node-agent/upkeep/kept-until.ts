import type { GenerationRow } from '../catalog/generation-row.ts';
import type { Store } from '../store/store.ts';
import { isNearlyFull } from './evict.ts';

export type Parts = Readonly<{
  store: Store;
  isCloudOn: boolean;
  /** For how long what was deleted or replaced can be had back, in milliseconds. */
  keepDeletedMs: number;
  now: () => number;
}>;

/**
 * Until when what a generation holds is to be kept here where it is deleted or replaced now, in ISO 8601; `null`
 * where it is not: the cloud keeps what it is proven to have, and on a file system that is nearly full what goes
 * makes room.
 */
export async function keptUntil(
  { store, isCloudOn, keepDeletedMs, now }: Parts,
  row: GenerationRow | null,
): Promise<string | null> {
  if (keepDeletedMs === 0) return null;
  if (isCloudOn && row?.status === 'verified') return null;
  if (await isNearlyFull(store.layout.root)) return null;
  return new Date(now() + keepDeletedMs).toISOString();
}
