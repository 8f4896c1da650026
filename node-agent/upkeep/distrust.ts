/** What a catalog that may be of another time, or of another store, says is compared with the disk. */
import type { Catalog } from '../catalog/catalog.ts';
import { forget } from '../catalog/deleting.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { finishReplace } from '../catalog/saving.ts';
import type { Ref } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { OnDisk } from '../store/stored-generation.ts';
import { readFacts } from './adopt.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog; now: () => number }>;

/** Forgets another generation under the version of what lies here, where nothing of that does. */
export async function forgetOther({ store, catalog }: Parts, found: OnDisk): Promise<void> {
  const { projectId, version, generationId } = found.ref;
  const row = catalog.generations.find(projectId, version);
  // What was moved away has left its version to the other.
  if (row === null || row.generation_id === generationId || found.movedTo !== null) return;
  if (!store.has(refOf(row))) await catalog.write(() => forget(catalog, refOf(row)));
}

/** Notes what took the place of the content that the catalog knows, and owes it to the cloud. */
export async function compareStored({ store, catalog, now }: Parts, ref: Ref): Promise<void> {
  const { facts, createdAt } = await readFacts(store, ref);
  // What was replaced by the same content in the end is of another time too.
  const isSame = (row: GenerationRow | null) =>
    row?.digest === facts.digest && row.created_at === createdAt;
  if (isSame(catalog.generations.find(ref.projectId, ref.version))) return;
  await catalog.write(() => {
    const row = catalog.generations.find(ref.projectId, ref.version);
    // Whoever has it locked notes what becomes of it.
    if (row?.state !== 'stored' || row.instance_id !== null || isSame(row)) return;
    finishReplace(catalog, ref, facts, createdAt, now());
  });
}
