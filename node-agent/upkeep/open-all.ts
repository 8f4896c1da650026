import type { Catalog } from '../catalog/catalog.ts';
import { refOf } from '../catalog/generation-row.ts';
import { type Ref, StorageError } from '../contract.ts';
import { treeOf } from './tree-of.ts';

type Parts = Parameters<typeof treeOf>[0] & Readonly<{ catalog: Catalog }>;

/** Lays out what lies in the store, and has it last: whoever reads it next does so without us. */
export async function* openAll(
  parts: Parts,
  projectId: string | null,
): AsyncIterable<Readonly<{ ref: Ref; path: string; problem: string | null }>> {
  const { store, catalog } = parts;
  for (const row of catalog.generations.stored(projectId)) {
    const ref = refOf(row);
    const path = store.layout.generation(ref);
    // In the cloud alone, or as the Python system left it.
    if (!store.has(ref)) continue;
    let problem: string | null = null;
    try {
      if (row.digest !== null) {
        const isThere = await treeOf(parts, ref, row.digest);
        if (isThere) await store.trees.sync(ref);
        else problem = 'it was replaced while it was laid out: open it once more';
      }
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === 'disk_full') throw error;
      problem = error.message;
    }
    yield { ref, path, problem };
  }
}
