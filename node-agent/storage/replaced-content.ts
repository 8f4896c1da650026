import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import {
  formatRef,
  isComplete,
  type Limits,
  type ManifestEntry,
  type Ref,
  StorageError,
} from '../contract.ts';
import { type UndeleteOptions, undelete } from '../delete/undelete.ts';
import type { Summary } from '../read/summary.ts';
import type { Saver } from '../save/save.ts';
import { inGeneration, listTars } from '../store/layout.ts';
import { type Replaced, replacedIn } from '../store/trash.ts';
import type { HeavyWork } from '../store/workers.ts';

type Parts = Parameters<typeof undelete>[0] &
  Readonly<{ saver: Saver; workers: HeavyWork; limits: Limits }>;

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
 * @throws StorageError `corrupt` where it is not what it was, `unavailable`, `disk_full`; it stays kept then
 */
export async function bringContentBack(
  parts: Parts,
  { row, kept }: Readonly<{ row: GenerationRow; kept: Replaced }>,
  { requestId = null }: Pick<UndeleteOptions, 'requestId'>,
): Promise<{ ref: Ref; undeleted: boolean }> {
  const { store, saver, workers, limits, onEvent } = parts;
  const ref = refOf(row);
  const { digest } = kept;
  if (row.state === 'deleted') await undelete(parts, ref, row, { requestId });
  const folder = store.staging.path();
  try {
    const unpacked = await workers.unpack({ ...archiveIn(kept), folder, limits, trusted: true });
    const { manifest } = unpacked;
    if (!isComplete(manifest) || unpacked.digest !== digest) {
      const state = 'what was kept of it is damaged';
      throw new StorageError('corrupt', `Cannot undelete ${formatRef(ref)}: ${state}`);
    }
    const { root, path } = store.layout.placeOf(folder);
    const listed = (folder: string, entries: readonly ManifestEntry[]) => ({
      ...{ kind: 'listed' as const, root, folder },
      files: entries.map(({ path, mode }) => ({ path, mode })),
    });
    const { entries, artifacts, metadata, owner_id: ownerId = null, created_at } = manifest;
    await saver.save(
      {
        ...{ ...ref, metadata, ownerId, requestId, createdAt: created_at },
        ...{ replace: true, layOut: false },
        source: listed(inGeneration.source(path), entries),
        artifacts: artifacts.length === 0 ? null : listed(inGeneration.artifacts(path), artifacts),
      },
      performance.now(),
    );
  } finally {
    await store.staging.drop(folder);
  }
  await store.trash.remove(kept);
  onEvent({ kind: 'generation.undeleted', ...ref, digest, where: 'here', requestId });
  return { ref, undeleted: true };
}

/** A content may have been replaced before an archive was made of it. */
function archiveIn(kept: Replaced): { archive: string; isLaidDown: boolean } {
  const folder = replacedIn(kept);
  const archive = inGeneration.archive(folder);
  const [tar] = listTars(folder);
  const isLaidDown = tar !== undefined && !existsSync(archive);
  return { archive: isLaidDown ? join(folder, tar) : archive, isLaidDown };
}
