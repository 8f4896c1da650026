import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { formatRef, isComplete, type Limits, type Ref, StorageError } from '../contract.ts';
import { type UndeleteOptions, undelete } from '../delete/undelete.ts';
import type { Summary } from '../read/summary.ts';
import type { SaveRequest } from '../save/request.ts';
import type { Saves } from '../save/saves.ts';
import { requestOfUnpacked } from '../save/unpacked.ts';
import { archiveIn } from '../store/lay-out.ts';
import { type Replaced, replacedIn } from '../store/trash.ts';
import type { HeavyWork } from '../store/workers.ts';

type Parts = Parameters<typeof undelete>[0] &
  Readonly<{ saves: Saves; workers: HeavyWork; limits: Limits }>;

/** Content that a generation held before, and until when this host keeps it, in ISO 8601. */
export type ReplacedContent = Readonly<{ digest: string; keptUntil: string }>;

/** What this host keeps of what a generation held before. */
export function listReplaced(
  { store }: Pick<Parts, 'store'>,
  { digest: current, ...ref }: Summary,
): ReplacedContent[] {
  return store.trash
    .replacedOf(ref)
    .filter(({ digest }) => digest !== current)
    .map(({ digest, purgeAt: keptUntil }) => ({ digest, keptUntil }));
}

/** Content that is asked for and kept here; `null` where it is not, or the generation holds it. */
export function findReplaced(
  { store }: Pick<Parts, 'store'>,
  row: GenerationRow | null,
  digest: string | undefined,
): { row: GenerationRow; kept: Replaced } | null {
  if (row === null || digest === undefined || row.digest === digest) return null;
  const found = store.trash.replacedOf(refOf(row)).find((kept) => kept.digest === digest);
  return found === undefined ? null : { row, kept: found };
}

/**
 * Has content that this host kept take the place of what a generation holds: it is saved once more, as it was. What
 * it takes the place of is kept in turn. A generation that was deleted is undeleted first.
 *
 * @returns whether it was not there before
 * @throws StorageError `corrupt` where it is not what it was, `unavailable`, `disk_full`; it stays kept then
 */
export async function bringContentBack(
  parts: Parts,
  { row, kept }: Readonly<{ row: GenerationRow; kept: Replaced }>,
  { requestId = null }: Pick<UndeleteOptions, 'requestId'>,
): Promise<{ ref: Ref; undeleted: boolean }> {
  const { store, saves, onEvent } = parts;
  const ref = refOf(row);
  const { digest } = kept;
  const folder = store.staging.path();
  let undeleted: boolean;
  try {
    const { created } = await saves.again(async () => {
      const request = { ...(await unpack(parts, ref, kept, folder)), requestId };
      if (row.state === 'deleted') await undelete(parts, ref, row, { requestId });
      return request;
    });
    undeleted = created;
  } finally {
    await store.staging.drop(folder);
  }
  await store.trash.remove(kept);
  if (undeleted) {
    onEvent({ kind: 'generation.undeleted', ...ref, digest, where: 'here', requestId });
  }
  return { ref, undeleted };
}

/** What is to be saved: it lies in a folder. */
async function unpack(
  { store, workers, limits }: Parts,
  ref: Ref,
  kept: Replaced,
  folder: string,
): Promise<SaveRequest> {
  const found = archiveIn(replacedIn(kept));
  if (found === null) throw damaged(ref, replacedIn(kept));
  const { path: archive, isLaidDown } = found;
  const given = { archive, folder, limits, isLaidDown, trusted: true };
  const { manifest, digest } = await workers.unpack(given).catch((error: unknown) => {
    throw error instanceof StorageError && error.code === 'corrupt'
      ? damaged(ref, archive, error)
      : error;
  });
  if (!isComplete(manifest) || digest !== kept.digest) throw damaged(ref, archive);
  const request = requestOfUnpacked(ref, store.layout.placeOf(folder), manifest);
  return { ...request, createdAt: manifest.created_at, replace: true };
}

function damaged(ref: Ref, archive: string, cause?: StorageError): StorageError {
  const state = `what was kept of it, "${archive}", is damaged`;
  const message = `Cannot undelete the content of ${formatRef(ref)}: ${state}. What it holds now stays`;
  return new StorageError('corrupt', message, { cause });
}
