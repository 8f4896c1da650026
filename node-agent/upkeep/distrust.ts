/** What a catalog that may be of another time, or of another store, says is compared with the disk. */
import type { Catalog } from '../catalog/catalog.ts';
import { forget } from '../catalog/deleting.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { finishReplace } from '../catalog/saving.ts';
import type { Ref } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { OnDisk } from '../store/stored-generation.ts';
import { type FoundFacts, noteFacts } from './adopt.ts';

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
export async function compareStored(parts: Parts, ref: Ref): Promise<void> {
  const { catalog, now } = parts;
  const note = ({ facts, createdAt }: FoundFacts, row: GenerationRow | null) => {
    // Whoever has it locked notes what becomes of it.
    if (row?.state !== 'stored' || row.instance_id !== null) return;
    finishReplace(catalog, ref, facts, createdAt, now());
  };
  await noteFacts(parts, ref, note, ({ facts, createdAt }, row) => {
    // What was replaced by the same content in the end is of another time too.
    return row?.digest === facts.digest && row.created_at === createdAt;
  });
}
