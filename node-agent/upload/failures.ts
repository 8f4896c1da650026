/** Why a step cannot go on, in the words that a person reads. */
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { noteSuperseded } from '../catalog/progress.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Parts } from './parts.ts';

/** For what storage said that it took, and has not. */
export function absent(row: GenerationRow): StorageError {
  return new StorageError(
    'unavailable',
    `Cannot upload ${formatRef(refOf(row))}: storage took it and has it not`,
  );
}

/** For what was taken out of the store, and is gone from the bucket too. */
export function lost(parts: Parts, ref: Ref): StorageError {
  parts.onEvent({ kind: 'generation.lost', ...ref });
  const state = parts.objects.showsUnnamed
    ? 'its content is neither on this host nor in the bucket'
    : 'its content is not on this host, and by the key of a host it is not found in the bucket. Where the secret key is: codebegen-storage migrate --from-bucket';
  return new StorageError('not_found', `Cannot upload ${formatRef(ref)}: ${state}`);
}

/** How long to wait for migrations that are not applied yet, in milliseconds. */
const NO_DATABASE_RETRY_MS = 5 * 60_000;

/** The cloud is there, so this is no reason to pause; it is tried again for ever. */
export function noDatabase(ref: Ref): StorageError {
  return new StorageError(
    'not_found',
    `Cannot record ${formatRef(ref)}: the migrations are not applied`,
    { retryable: true, retryAfterMs: NO_DATABASE_RETRY_MS },
  );
}

/** Notes that other content took the place of this one, and tells of it. */
export async function superseded(
  { catalog, onEvent }: Pick<Parts, 'catalog' | 'onEvent'>,
  row: GenerationRow,
  cloudDigest: string | null,
): Promise<StorageError> {
  const ref: Ref = refOf(row);
  const reason = 'another host replaced it';
  const message = `Cannot upload ${formatRef(ref)}: ${reason}. What this host had saved is kept: codebegen-storage uploads renumber ${ref.projectId} ${ref.version}`;
  await catalog.write(() => {
    noteSuperseded(catalog, ref, row.digest, cloudDigest, message);
    onEvent({ kind: 'generation.conflict', reason, ...ref });
  });
  return new StorageError('conflict', message);
}
