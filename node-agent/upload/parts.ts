import type { Catalog } from '../catalog/catalog.ts';
import type { CloudObjects } from '../cloud/objects.ts';
import type { CloudRecords } from '../cloud/records.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Saver } from '../save/save.ts';
import type { Versions } from '../save/versions.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';

/** What the steps need. */
export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  objects: CloudObjects;
  records: CloudRecords;
  locks: Locks;
  scan: Scan;
  now: () => number;
  saver: Saver;
  versions: Versions;
  onEvent: Tell;
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
