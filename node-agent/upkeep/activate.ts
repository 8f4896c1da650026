import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, type Ref } from '../contract.ts';
import { treeOf } from './tree-of.ts';

type Parts = Parameters<typeof treeOf>[0] & Readonly<{ catalog: Catalog }>;

/**
 * Makes a generation the active one of its project, here at once and in the cloud soon after.
 *
 * @throws StorageError `not_found` where it is not in the store, `conflict` where something that is no link
 *   has its place, `corrupt`, `disk_full`
 */
export async function activate(parts: Parts, row: GenerationRow): Promise<Ref> {
  const { catalog, now } = parts;
  const ref = refOf(row);
  const owe = () => catalog.write(() => catalog.projects.oweActive(ref.projectId));
  // Before, for a crash in between, and after, for what was told meanwhile.
  await owe();
  await layOut(parts, row);
  await link(parts, ref, now());
  await owe();
  return ref;
}

/**
 * Follows what was said elsewhere, of which the cloud knows.
 *
 * @param at when it was said, in milliseconds
 * @returns whether it was: not where something was said here since
 * @throws StorageError as {@link activate}
 */
export async function followActive(parts: Parts, row: GenerationRow, at: number): Promise<boolean> {
  const { store, catalog } = parts;
  const { project_id: projectId } = row;
  const isOlder = () => (store.active.saidAt(projectId) ?? Number.NEGATIVE_INFINITY) >= at;
  if (isOlder()) return false;
  await layOut(parts, row);
  // To lay it out takes a while.
  if (isOlder()) return false;
  await link(parts, refOf(row), at);
  await catalog.write(() => {
    if (store.active.saidAt(projectId) === at) catalog.projects.setActiveTold(projectId, at);
  });
  return true;
}

/** Whoever takes it out of the store meanwhile waits, and sees that it is active. */
async function link({ store, locks }: Parts, ref: Ref, at: number): Promise<void> {
  const unlock = await locks.lock(ref);
  try {
    if (unlock === null || !store.has(ref)) throw notFound(ref);
    await store.active.set(ref, at);
  } finally {
    await unlock?.();
  }
}

/** The link is read without us: what it leads to is there, and lasts. */
async function layOut(parts: Parts, row: GenerationRow): Promise<void> {
  const { store } = parts;
  const ref = refOf(row);
  if (!store.has(ref)) throw notFound(ref);
  if (row.digest === null) return;
  if (!(await treeOf(parts, ref, row.digest))) throw notFound(ref);
  await store.trees.sync(ref).catch((error: unknown) => {
    // Somebody took it away just now.
    throw store.has(ref) ? error : notFound(ref);
  });
}
