import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { GenerationRow } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import type { Cloud } from '../cloud/cloud.ts';
import type { CloudSettings } from '../cloud/connection.ts';
import type { Limits, Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { DownloadUrls } from '../read/download-url.ts';
import type { EventFeed } from '../read/event-feed.ts';
import type { Finder, RefInput } from '../read/find.ts';
import type { Getter } from '../read/get.ts';
import type { Opener } from '../read/open.ts';
import type { Replicas } from '../replicate/replicas.ts';
import type { Saves } from '../save/saves.ts';
import type { Store } from '../store/store.ts';
import type { HeavyWork } from '../store/workers.ts';
import type { KeepLimits } from '../upkeep/evict.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';
import type { Verified, VerifyOptions } from '../upkeep/verify.ts';
import type { Outbox } from '../upload/outbox.ts';
import type { Uploads } from '../upload/uploads.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import type { Background } from './background.ts';

/** What a storage is made of, once it is open. What needs some of it says which. */
export type Parts = Readonly<{
  storePath: string;
  /** Of cached copies, and of trees. */
  keepLimits: KeepLimits;
  store: Store;
  catalog: Catalog;
  cache: Cache;
  instance: Instance;
  workers: HeavyWork;
  limits: Limits;
  /** Why nothing can be written to the store; `null` where it can. */
  unwritable: StorageError | null;
  locks: Locks;
  scan: Scan;
  /** `null` while the cloud is off. */
  cloud: Cloud | null;
  cloudSettings: CloudSettings | null;
  isCloudOn: boolean;
  /** In how many days everything is read once; 0: never. */
  scrubDays: number;
  /** For how long what was deleted is kept here, in milliseconds. */
  keepDeletedMs: number;
  outbox: Outbox | null;
  finder: Finder;
  find: (ref: RefInput) => Promise<GenerationRow | null>;
  /** Has what was undeleted in the cloud lie here again. */
  bringBack: (ref: Ref) => Promise<boolean>;
  /** How long to wait after so many failures, in milliseconds. */
  backoff: (failures: number) => number;
  getter: Getter;
  opener: Opener;
  /** Reads generations, and mends what is damaged. */
  verify: (options: VerifyOptions) => AsyncIterable<Verified>;
  urls: DownloadUrls;
  saves: Saves;
  uploads: Uploads;
  replicas: Replicas;
  webhooks: Webhooks;
  background: Background;
  /** Ends every request to the cloud, and what goes on after one thing with the next. */
  stop: (reason: unknown) => void;
  /** Aborted then. */
  stopping: AbortSignal;
  /** Says that there is work in the background. */
  wake: () => void;
  now: () => number;
  random: () => number;
  /** Told of what went wrong in the background. Never throws. */
  onProblem: (error: unknown) => void;
  /** What happened, of every process. */
  events: EventFeed;
  onEvent: Tell;
}>;
