import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { formatRef, StorageError } from '../contract.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';

/** Undoes in the cloud a deletion that was undone here. Then what the cloud has of it is asked for. */
export async function undeleteInCloud(parts: Parts, row: GenerationRow): Promise<StepResult> {
  const { catalog, retention } = parts;
  const ref = refOf(row);
  const answer = await retention.recordUndeletion(ref, null, catalog.meta.hostId);
  switch (answer.outcome) {
    case 'undeleted':
    case 'live':
      await catalog.write(() => catalog.generations.setCloudEpoch(ref, answer.epoch));
      return 'done';
    case 'purged':
      // What it says of that comes late: what this host has stays.
      await catalog.write(() => catalog.generations.setCloudEpoch(ref, answer.epoch));
      throw new StorageError(
        'forbidden',
        `Cannot undelete ${formatRef(ref)} in the cloud: it was purged there. What this host has is kept: codebegen-storage uploads renumber ${ref.projectId} ${ref.version}`,
      );
    case 'no_content':
    case 'missing':
    case 'no_database':
      return 'done';
  }
}
