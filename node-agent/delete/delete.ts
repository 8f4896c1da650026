import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, type Ref } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import { deleteHere } from './delete-here.ts';

/**
 * Deletes a generation: on disk at once, in the cloud soon after. Deleting twice is fine.
 *
 * @returns whether there was something to delete
 * @throws StorageError `not_found` where it never was
 */
export async function deleteGeneration(
  parts: Parameters<typeof deleteHere>[0] & Readonly<{ onEvent: Tell }>,
  row: GenerationRow,
): Promise<{ ref: Ref; deleted: boolean }> {
  const ref = refOf(row);
  if (row.state === 'saving') throw notFound(ref);
  const deleted = await deleteHere(parts, ref);
  if (deleted) parts.onEvent({ kind: 'delete', ...ref });
  return { ref, deleted };
}
