import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, type Ref } from '../contract.ts';
import { deleteHere } from './delete-here.ts';

/**
 * Deletes a generation: on disk at once, in the cloud soon after. Deleting twice is fine.
 *
 * @returns whether there was something to delete
 * @throws StorageError `not_found` where it never was
 */
export async function deleteGeneration(
  parts: Parameters<typeof deleteHere>[0],
  row: GenerationRow,
  requestId: string | null,
): Promise<{ ref: Ref; deleted: boolean }> {
  const ref = refOf(row);
  if (row.state === 'saving') throw notFound(ref);
  return { ref, deleted: await deleteHere(parts, ref, { where: 'here', requestId, purge: false }) };
}
