import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, type Ref } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from './locks.ts';
import { treeOf } from './tree-of.ts';

/**
 * Makes a generation the active one of its project. The link is read without us: its tree is laid out
 * before, and lasts.
 *
 * @throws StorageError `not_found` where it is not in the store, `corrupt`, `disk_full`
 */
export async function activate(
  parts: Readonly<{ store: Store; locks: Locks; now: () => number }>,
  row: GenerationRow,
): Promise<Ref> {
  const { store } = parts;
  const ref = refOf(row);
  if (!store.has(ref)) throw notFound(ref);
  if (row.digest !== null) {
    if (!(await treeOf(parts, ref, row.digest))) throw notFound(ref);
    await store.trees.sync(ref);
  }
  await store.active.set(ref);
  return ref;
}
