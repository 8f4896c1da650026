import { statfs } from 'node:fs/promises';
import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Instance } from '../catalog/instance.ts';
import type { CloudAway } from '../catalog/meta.ts';
import type { CloudSettings } from '../cloud/connection.ts';
import { isHostKey, type Status } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { KeepLimits } from '../upkeep/evict.ts';
import type { Scan, ScanProgress } from '../upkeep/scan.ts';
import type { Outbox } from '../upload/outbox.ts';
import { type OwedUpload, toOwed } from '../upload/owed.ts';
import { cachedBytes, onlyInCloud } from './looked-at.ts';

export type StorageStatus = Readonly<{
  storePath: string;
  /** The file system that it lies on; `null` where that cannot be asked. */
  disk: DiskSpace | null;
  cloud: {
    enabled: boolean;
    url: string | null;
    bucket: string | null;
    /** Whether it goes by the secret key of the project, or by one of its own; `null` while it is off. */
    key: 'secret' | 'host' | null;
    /** Where it was away, or refused whoever asked, when it was asked last. */
    away: CloudAway | null;
  };
  /** How far the disk is read into the catalog where a start began that; `null` once it is. */
  scan: ScanProgress | null;
  /** Generations by status, of what is read. */
  generations: Readonly<Partial<Record<Status, number>>>;
  /**
   * `paused` while the cloud is away, or refuses the key or the plan: one job at a time tries whether
   * it is back. `reason` says what it answers.
   */
  outbox: {
    owed: number;
    parked: number;
    /** From when on the oldest is owed. */
    since: string | null;
    nextDueAt: string | null;
    paused: boolean;
    reason: string | null;
  };
  /** What is owed to webhooks, and was parked. `since` is of the oldest that is not parked. */
  webhooks: { owed: number; parked: number; since: string | null };
  /**
   * How far everything is read anew, to find what is damaged: since when, how many generations, how many of them were
   * damaged, and when all had been read the last time. `null` before the first.
   */
  scrub: Readonly<{
    beganAt: string;
    checked: number;
    damaged: number;
    endedAt: string | null;
  }> | null;
}>;

/** What has to be counted on disk, too. */
export type CountedStatus = StorageStatus &
  Readonly<{
    /** Where a daemon serves this store; `null` where none says so. */
    daemonUrl: string | null;
    /** Generations that lie in the bucket and not in the store. */
    onlyInCloud: number;
    cache: Readonly<{ path: string; copies: number; bytes: number; maxBytes: number }>;
    /** What was set aside, and why: the oldest ten. */
    parked: readonly OwedUpload[];
  }>;

/** What a file system has left. `freeInodes` is `null` where it makes them as they are needed. */
export type DiskSpace = Readonly<{ freeBytes: number; bytes: number; freeInodes: number | null }>;

type Parts = Readonly<{
  storePath: string;
  /** `null` while the cloud is off. */
  cloudSettings: CloudSettings | null;
  catalog: Catalog;
  scan: Scan;
  outbox: Outbox | null;
}>;

/** How the storage is now. */
export async function getStatus(parts: Parts): Promise<StorageStatus> {
  const { storePath, cloudSettings, catalog, scan, outbox } = parts;
  const { pending = 0, local = 0, ...others } = catalog.generations.countByStatus();
  const { nextDueAt, since, ...counts } = catalog.jobs.counts();
  const isOn = cloudSettings !== null;
  return {
    storePath,
    disk: await spaceOf(storePath),
    cloud: {
      enabled: isOn,
      url: cloudSettings?.url ?? null,
      bucket: cloudSettings?.bucket ?? null,
      key: cloudSettings === null ? null : isHostKey(cloudSettings.key) ? 'host' : 'secret',
      away: isOn ? catalog.meta.cloudAway : null,
    },
    scan: scan.progress,
    generations: isOn ? { ...others, local, pending } : { ...others, local: local + pending },
    outbox: {
      ...counts,
      since: toIso(since),
      nextDueAt: toIso(nextDueAt),
      paused: outbox?.paused != null,
      reason: outbox?.paused?.reason ?? null,
    },
    webhooks: owedToWebhooks(catalog),
    scrub: scrubOf(catalog),
  };
}

function scrubOf({ meta }: Catalog): StorageStatus['scrub'] {
  if (meta.scrub === null) return null;
  const { beganAt, checked, damaged, endedAt } = meta.scrub;
  return { beganAt, checked, damaged, endedAt };
}

function owedToWebhooks(catalog: Catalog): StorageStatus['webhooks'] {
  const counts = [...catalog.deliveries.counts().values()];
  const since = counts.flatMap((count) => count.since ?? []);
  return {
    owed: counts.reduce((sum, { owed }) => sum + owed, 0),
    parked: counts.reduce((sum, { parked }) => sum + parked, 0),
    since: since.length === 0 ? null : toIso(Math.min(...since)),
  };
}

/** So many of what is parked are named. */
const MAX_PARKED = 10;

/** How the storage is now, and what it has to be looked at for. */
export async function countStatus(
  parts: Parts &
    Readonly<{ store: Store; cache: Cache; instance: Instance; keepLimits: KeepLimits }>,
): Promise<CountedStatus> {
  const { store, cache, catalog, keepLimits } = parts;
  let away = 0;
  for await (const _ of onlyInCloud(catalog, store)) away++;
  let [copies, bytes] = [0, 0];
  for await (const size of cachedBytes(cache)) {
    copies++;
    bytes += size;
  }
  const { root: path } = cache.entries.layout;
  return {
    ...(await getStatus(parts)),
    daemonUrl: parts.instance.announced(),
    onlyInCloud: away,
    cache: { path, copies, bytes, maxBytes: keepLimits.maxBytes },
    parked: catalog.jobs.list(0, MAX_PARKED, { isParked: true }).map(toOwed),
  };
}

async function spaceOf(path: string): Promise<DiskSpace | null> {
  const found = await statfs(path).catch(() => null);
  if (found === null) return null;
  const { bavail, blocks, bsize, ffree, files } = found;
  return {
    freeBytes: bavail * bsize,
    bytes: blocks * bsize,
    freeInodes: files > 0 ? ffree : null,
  };
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
