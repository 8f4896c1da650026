import { StorageError } from '../contract.ts';
import { within } from '../threads/within.ts';

/** For how long the cloud may be silent before somebody else is asked, in milliseconds. */
export const PATIENCE_MS = 2000;

/** The cloud did not answer in time; it may yet. */
export class Silent extends StorageError {
  constructor(doing: string) {
    super('unavailable', `Cannot ${doing}: the cloud is silent`, { retryable: true });
  }
}

/** What comes in time. @throws Silent, and what it fails with in time */
export async function patiently<T>(doing: string, coming: Promise<T>): Promise<T> {
  // What comes later is nobody's.
  coming.catch(() => {});
  const came = await within(
    PATIENCE_MS,
    coming.then((value) => ({ value })),
  );
  if (came === null) throw new Silent(doing);
  return came.value;
}
