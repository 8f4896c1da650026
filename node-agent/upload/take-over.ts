import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { takeFromCloud } from '../catalog/progress.ts';
import type { CloudRow } from '../cloud/outcomes.ts';
import type { Tell } from '../events/events.ts';

/**
 * Takes over what the cloud has of a generation, where it is other content and nothing of the old is
 * left here. What is saved here meanwhile stays.
 *
 * @returns whether it was taken over
 */
export async function takeOver(
  { catalog, onEvent }: Readonly<{ catalog: Catalog; onEvent: Tell }>,
  seen: GenerationRow,
  record: CloudRow,
): Promise<boolean> {
  const ref = refOf(seen);
  return catalog.write(() => {
    const isTaken = takeFromCloud(catalog, ref, seen.digest, record);
    const reason = 'another host replaced it';
    if (isTaken) onEvent({ kind: 'generation.conflict', reason, ...ref });
    return isTaken;
  });
}
