import type { StoredFacts } from '../catalog/generation-row.ts';
import type { Ref } from '../contract.ts';
import type { Told } from '../events/events.ts';
import type { Staged } from '../store/stage.ts';
import type { SaveRequest } from './request.ts';

/** What is known of what was saved, before it is packed. */
type SavedFacts = StoredFacts &
  Readonly<{ digest: string; fileCount: number; sourceBytes: number }>;

/** @param ownerId that was named with the save */
export function factsOf(staged: Staged, ownerId: string | null): SavedFacts {
  return {
    isReplacement: false,
    digest: staged.digest,
    // Of an archive that is made after the answer.
    ...{ sha256: null, md5: null, archiveBytes: null },
    sourceBytes: staged.sourceBytes,
    fileCount: staged.fileCount,
    ownerId,
  };
}

/**
 * That it is saved: to be told in the transaction that notes it.
 *
 * @param began when, by `performance.now()`
 */
export function savedEvent(
  ref: Ref,
  facts: SavedFacts,
  { requestId = null }: SaveRequest,
  began: number,
): Told {
  const { digest, fileCount: files, sourceBytes: bytes, isReplacement: replaced } = facts;
  const ms = performance.now() - began;
  return {
    kind: 'generation.saved',
    ...ref,
    ownerId: facts.ownerId,
    digest,
    files,
    bytes,
    replaced,
    ms,
    requestId,
  };
}
