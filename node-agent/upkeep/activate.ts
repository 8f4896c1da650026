import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, type Ref } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from './locks.ts';
import { treeOf } from './tree-of.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog; locks: Locks; now: () => number }>;

/**
 * Makes a generation the active one of its project, here at once and in the cloud soon after. The link is
 * read without us: its tree is laid out before, and lasts.
 *
 * @throws StorageError `not_found` where it is not in the store, `conflict` where something that is no link
 *   has its place, `corrupt`, `disk_full`
 */
export async function activate(parts: Parts, row: GenerationRow): Promise<Ref> {
  const { catalog, now } = parts;
  const ref = refOf(row);
  await link(parts, row, now());
  await catalog.write(() => catalog.projects.oweActive(ref.projectId));
  return ref;
}

/**
 * Follows what was said elsewhere, of which the cloud knows.
 *
 * @param at when it was said, in milliseconds
 * @throws StorageError as {@link activate}
 */
export async function followActive(parts: Parts, row: GenerationRow, at: number): Promise<void> {
  const { catalog } = parts;
  await link(parts, row, at);
  await catalog.write(() => catalog.projects.setActiveTold(row.project_id, at));
}

async function link(parts: Parts, row: GenerationRow, at: number): Promise<void> {
  const { store } = parts;
  const ref = refOf(row);
  if (!store.has(ref)) throw notFound(ref);
  if (row.digest !== null) {
    if (!(await treeOf(parts, ref, row.digest))) throw notFound(ref);
    await store.trees.sync(ref);
  }
  await store.active.set(ref, at);
}
