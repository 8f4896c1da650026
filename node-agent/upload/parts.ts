import type { CloudObjects } from '../cloud/objects.ts';
import type { UnneededObject } from '../cloud/outcomes.ts';
import type { CloudRecords } from '../cloud/records.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { OnEvent } from '../events.ts';
import type { Holds } from '../holds.ts';
import type { Catalog } from '../outbox/catalog.ts';
import type { Jobs } from '../outbox/jobs.ts';
import type { Saver } from '../save.ts';
import type { Store } from '../store/store.ts';
import type { Versions } from '../versions.ts';

/** What the steps need. */
export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  jobs: Jobs;
  objects: CloudObjects;
  records: CloudRecords;
  holds: Holds;
  now: () => number;
  saver: Saver;
  versions: Versions;
  onEvent: OnEvent;
  /** Told when the bytes of a generation are proven to be in the cloud. */
  onVerified: () => void;
}>;

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

/** Removes what the database says that nothing needs, and says so there. */
export async function removeUnneeded(
  { objects, records }: Pick<Parts, 'objects' | 'records'>,
  unneeded: readonly UnneededObject[],
): Promise<void> {
  if (unneeded.length === 0) return;
  await objects.remove(unneeded.map(({ bucket, object_key: key }) => ({ bucket, key })));
  await records.recordRemovals(unneeded);
}
