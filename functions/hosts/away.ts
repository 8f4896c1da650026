import { StorageError } from '../_shared/contract/errors.ts';

/** For Storage that did not do what it was asked. @param doing completes "Cannot …" */
export function away(doing: string, cause: unknown): StorageError {
  return new StorageError('unavailable', `Cannot ${doing}: storage did not answer`, { cause });
}
