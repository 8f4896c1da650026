import type { ByteRange } from '../_shared/read-object.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { ArchiveNotFound } from './rows.ts';

/**
 * Opens the archive of a generation, for as long as the request lasts.
 *
 * @param range a part of it; all of it where it is left out
 * @throws StorageError where the bucket does not have it
 */
export async function openArchive(
  c: UserContext,
  row: GenerationRow,
  range?: ByteRange,
): Promise<ReadableStream<Uint8Array>> {
  const { signal } = c.req.raw;
  const stream = await c.var.readObject(row, range === undefined ? { signal } : { range, signal });
  if (stream === null) throw new ArchiveNotFound(row);
  return stream;
}
