/** What the Python system left is taken in: given hashes and an archive, or unpacked. */
import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { formatRef, notFound, type Ref, StorageError } from '../contract.ts';
import type { LeftOut } from '../store/left-out.ts';
import type { Store } from '../store/store.ts';
import { adopt } from './adopt.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog; locks: Locks; now: () => number }>;

/**
 * Gives a generation hashes and an archive, and owes it to the cloud. Its files stay as they are.
 *
 * @returns what was left out of it; `null` where there was nothing to do
 * @throws StorageError `not_found`, `conflict` where another generation has the version,
 *   `corrupt` for a file that is missing, `invalid_input` that names a path
 */
export async function convert(
  parts: Parts,
  ref: Ref,
  row: GenerationRow | null,
): Promise<LeftOut | null> {
  const { store, locks } = parts;
  if (row === null || row.state !== 'stored') throw notFound(ref);
  checkHolder(row, ref);
  if (row.digest !== null) return null;
  const unlock = await locks.lock(ref);
  if (unlock === null) throw notFound(ref);
  try {
    const leftOut = await store.legacy.convert(ref);
    await adopt(parts, ref);
    return leftOut;
  } finally {
    await unlock();
  }
}

/**
 * Unpacks a generation that was archived, where it is not there already.
 *
 * @param archive its tar.gz
 * @throws StorageError `conflict`, `corrupt`, `invalid_input` that names an entry, `too_large`
 */
export async function unpackOld(
  parts: Parts,
  ref: Ref,
  row: GenerationRow | null,
  archive: string,
): Promise<void> {
  if (row !== null) return checkHolder(row, ref);
  await parts.store.legacy.unpack(ref, archive);
  await adopt(parts, ref);
}

/** @throws StorageError `conflict` where the version is another generation's */
function checkHolder(row: GenerationRow, ref: Ref): void {
  if (row.generation_id === ref.generationId) return;
  const state = `the version is held by generation "${refOf(row).generationId}"`;
  throw new StorageError('conflict', `Cannot migrate ${formatRef(ref)}: ${state}`);
}
