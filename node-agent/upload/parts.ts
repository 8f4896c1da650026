import type { Catalog } from '../catalog/catalog.ts';
import type { CloudObjects, CloudRecords, CloudRetention } from '../cloud/cloud.ts';
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
  retention: CloudRetention;
  locks: Locks;
  scan: Scan;
  now: () => number;
  isCloudOn: boolean;
  keepDeletedMs: number;
  saver: Saver;
  versions: Versions;
  onEvent: Tell;
  /** Told when the bytes of a generation are proven to be in the cloud. */
  onVerified: () => void;
}>;
