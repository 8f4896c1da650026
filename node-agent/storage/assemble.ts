import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { GenerationRow } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import { connectCloud } from '../cloud/connect-cloud.ts';
import { DEFAULT_TIMEOUTS } from '../cloud/connection.ts';
import { DEFAULT_SCRUB_DAYS } from '../config.ts';
import { isHostKey, type Limits, type Ref, type StorageError } from '../contract.ts';
import { purge } from '../delete/purge.ts';
import type { Reserve } from '../disk/reserve.ts';
import type { Tell } from '../events/events.ts';
import { DownloadUrls } from '../read/download-url.ts';
import type { EventFeed } from '../read/event-feed.ts';
import { Finder, type RefInput } from '../read/find.ts';
import { FromReplica } from '../read/from-replica.ts';
import { Getter } from '../read/get.ts';
import { Opener } from '../read/open.ts';
import { Retriever } from '../read/retrieve.ts';
import { ReplicaFiles } from '../replicas/replica-files.ts';
import { ReplicaReader } from '../replicas/replica-reader.ts';
import { Copiers } from '../replicate/copiers.ts';
import { Replicas } from '../replicate/replicas.ts';
import { Saver } from '../save/save.ts';
import { Saves } from '../save/saves.ts';
import { Versions } from '../save/versions.ts';
import type { Store } from '../store/store.ts';
import type { HeavyWork } from '../store/workers.ts';
import { bringBack as bringBackFromCloud } from '../upkeep/bring-back.ts';
import { evictCached } from '../upkeep/evict-cached.ts';
import { evictTrees } from '../upkeep/evict-trees.ts';
import { Locks } from '../upkeep/locks.ts';
import { Scan } from '../upkeep/scan.ts';
import { scrub } from '../upkeep/scrub.ts';
import { Upkeep } from '../upkeep/upkeep.ts';
import { type VerifyOptions, verifyAll } from '../upkeep/verify.ts';
import { backoffMs } from '../upload/backoff.ts';
import { Outbox } from '../upload/outbox.ts';
import { Uploads } from '../upload/uploads.ts';
import { createWork } from '../upload/work.ts';
import { Courier } from '../webhooks/courier.ts';
import type { WebhookFiles } from '../webhooks/webhook-files.ts';
import { Webhooks } from '../webhooks/webhooks.ts';
import { Background } from './background.ts';
import type { StorageOptions } from './options.ts';
import type { Parts } from './parts.ts';
import { Repairer } from './repair.ts';

/** What is open already: the disk, and who tells of what. */
type Opened = Readonly<{
  store: Store;
  catalog: Catalog;
  instance: Instance;
  cache: Cache;
  workers: HeavyWork;
  reserve: Reserve;
  unwritable: StorageError | null;
  limits: Limits;
  now: () => number;
  onProblem: (error: unknown) => void;
  events: EventFeed;
  webhookFiles: WebhookFiles;
  onEvent: Tell;
}>;

/** For how long what was deleted can be had back. */
const KEEP_DELETED_MS = 7 * 24 * 3_600_000;

function cdnOf({ cdnUrl = null, cloud }: StorageOptions) {
  return cdnUrl === null || cloud === null ? null : { url: cdnUrl, projectUrl: cloud.url };
}

/** Puts together what saves, reads, deletes, uploads and keeps up. Nothing runs before it is started. */
export async function assemble(options: StorageOptions, opened: Opened): Promise<Parts> {
  const { random = Math.random, monotonic = () => performance.now(), fetch = null } = options;
  const { store, cache } = opened;
  const stopped = new AbortController();
  const connected =
    options.cloud === null
      ? null
      : await connectCloud(options.cloud, stopped.signal, options.timeouts, fetch);
  const cloud = connected?.cloud ?? null;
  const isCloudOn = cloud !== null;
  // Both are woken by what they are made of.
  const wake = (): void => background.wake();
  const isAway = (): boolean => outbox?.paused != null;

  const { keepDeletedMs = KEEP_DELETED_MS, scrubDays = DEFAULT_SCRUB_DAYS } = options;
  const base = { ...opened, random, cloud, isCloudOn, keepDeletedMs, scrubDays, wake };
  const shared = { ...base, locks: new Locks(base), scan: new Scan(base) };
  const replicaFiles = new ReplicaFiles(store.layout, store.staging);
  const versions = new Versions({ ...shared, records: cloud?.records ?? null, isAway });
  const saver = new Saver({ ...shared, versions });
  const saves = new Saves({
    ...shared,
    saver,
    ownPaths: () => [
      ...[options.storePath, options.cache.path, ...(options.secretFiles ?? [])],
      ...replicaFiles.list().map(({ keyFile }) => keyFile),
    ],
  });
  const finder = new Finder(shared);
  const reach = { timeouts: options.timeouts, send: fetch };
  const replicas = new ReplicaReader({ files: replicaFiles, reach, signal: stopped.signal });
  const fromReplica = new FromReplica({ ...shared, replicas });
  const retriever = new Retriever({ cache, cloud, fromReplica, isAway });
  const getter = new Getter({ ...shared, finder, retriever });
  const opener = new Opener({ ...shared, finder, getter });
  const find = (ref: RefInput) => finder.findAny(ref);
  const backoff = (failures: number) => backoffMs(failures, random(), null);
  const bringBack = async (ref: Ref) =>
    cloud !== null &&
    bringBackFromCloud({ ...shared, ...cloud, find, backoff }, ref, stopped.signal);
  const uploads = new Uploads({ ...shared, saver, versions, bringBack, isAway });
  const outbox: Outbox | null =
    connected === null || cloud === null
      ? null
      : new Outbox({
          ...shared,
          work: createWork({ ...shared, ...cloud, saver, versions, onVerified: wake }),
          concurrency: options.uploadConcurrency,
          monotonic,
          refreshKey: () => connected.key.refresh(),
        });
  const repairer = new Repairer({ ...shared, saver, retriever });
  const repair = (row: GenerationRow) => repairer.repair(row);
  const verify = async function* (given: VerifyOptions) {
    await shared.scan.whole();
    yield* verifyAll({ ...shared, repair }, given);
    wake();
  };
  const { requestMs: answerMs } = options.timeouts ?? DEFAULT_TIMEOUTS;
  const telling = { ...shared, files: opened.webhookFiles, answerMs };
  const courier = new Courier(telling);
  const copying = { ...shared, files: replicaFiles, reach, monotonic };
  const hasSecretKey = options.cloud !== null && !isHostKey(options.cloud.key);
  const copiers =
    cloud !== null && hasSecretKey && options.background !== false
      ? new Copiers({ ...copying, ...cloud, hostId: () => shared.catalog.meta.hostId })
      : null;
  const background: Background = new Background({
    ...shared,
    courier,
    copiers,
    upkeep: new Upkeep(shared),
    outbox,
    uploads,
    evict: async (isTooMuch) => {
      const limits = isTooMuch ? options.cache : null;
      // Each is tried: what keeps copies from going keeps no tree.
      await evictCached(shared, limits).catch(opened.onProblem);
      await evictTrees(shared, limits);
    },
    purge: () => purge(shared),
    scrub: () => scrub({ ...shared, verify }, stopped.signal),
    keepReserve: () => opened.reserve.restore(store.staging.path()),
    cleanupEveryMs: options.cleanupEveryMs,
    isOn: options.background !== false,
  });
  return {
    ...shared,
    verify,
    storePath: store.layout.root,
    keepLimits: options.cache,
    cloudSettings: options.cloud,
    outbox,
    finder,
    find,
    bringBack,
    backoff,
    getter,
    opener,
    urls: new DownloadUrls({ ...shared, fromReplica, cdn: cdnOf(options) }),
    saves,
    uploads,
    replicas: new Replicas({
      ...copying,
      copiers,
      cloudSettings: options.cloud,
      signal: stopped.signal,
    }),
    webhooks: new Webhooks({ ...telling, courier }),
    background,
    stop: (reason) => stopped.abort(reason),
    stopping: stopped.signal,
  };
}
