import type { Cache } from '../cache/cache.ts';
import type { CacheEntry } from '../cache/entry.ts';
import { type GenerationRow, keyOf } from '../catalog/generation-row.ts';
import type { CloudObjects, CloudRecords } from '../cloud/cloud.ts';
import { isOutage } from '../cloud/outage.ts';
import { formatRef, isInCloud, notFound, StorageError } from '../contract.ts';
import { SharedRuns } from '../threads/shared-runs.ts';
import { type Copy, fetchCopy, type Want } from './fetch-copy.ts';
import type { FromReplica } from './from-replica.ts';
import { PATIENCE_MS, patiently } from './patience.ts';

/** A copy from the cloud or a replica; `stale` where it may be out of date, and the cloud could not be asked. */
export type Retrieved = Readonly<{
  entry: CacheEntry;
  from: 'cache' | 'cloud' | 'replica';
  stale: boolean;
}>;

/** Where the cloud has an archive, and what it must be. */
type Place = Copy & Readonly<{ bucket?: string }>;

/** How the cloud is asked. */
type Way = Readonly<{
  /** Whether it is asked no longer once it is silent. */
  isImpatient: boolean;
  /** Told what the database said of it. */
  onLocated?: (place: Place) => void;
}>;

type Parts = Readonly<{
  cache: Cache;
  /** `null` while the cloud is off. */
  cloud: { objects: CloudObjects; records: CloudRecords } | null;
  fromReplica: FromReplica;
  /** Whether the cloud is known to be away. */
  isAway: () => boolean;
}>;

/** Gets what is not in the store: from the cache, else from the cloud, else from a replica. */
export class Retriever {
  readonly #parts: Parts;
  /** One download for everybody who wants the same. */
  readonly #running = new SharedRuns<Retrieved>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @param want.layOut whether its tree is asked for next: it is made as it comes from the cloud
   * @throws StorageError `not_found`, `unavailable`, `corrupt`
   */
  async get(want: Want): Promise<Retrieved> {
    const name = `${want.projectId} ${want.version} ${want.generationId ?? ''}`;
    return this.#running.run(name, () => this.#get(want));
  }

  /** As {@link get}, with the tree. A copy that is not what it was is fetched again. */
  async getLaidOut(want: Want): Promise<Retrieved> {
    const { cache, cloud } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      const retrieved = await this.get({ ...want, layOut: true });
      try {
        await cache.layOut(retrieved.entry);
        return retrieved;
      } catch (error) {
        const isDamaged = error instanceof StorageError && error.code === 'corrupt';
        if (!isDamaged || cloud === null || attempt === 2) throw error;
        await cache.entries.discard(retrieved.entry.path);
      }
    }
  }

  async #get(want: Want): Promise<Retrieved> {
    const { cache, cloud } = this.#parts;
    const cached = cache.entries.find(want.projectId, want.version, want.generationId);
    if (cached === null) return this.#fetch(want);
    if (isOther(cached, want.row)) {
      await cache.entries.discard(cached.path);
      return this.#fetch(want);
    }
    cache.entries.markUsed(cached);
    if (cache.isFresh(cached)) return { entry: cached, from: 'cache', stale: false };
    if (cloud === null) return { entry: cached, from: 'cache', stale: true };
    try {
      return await this.#revalidate(cached, want);
    } catch (error) {
      // A copy that may be old is better than none while the cloud is away.
      if (!(error instanceof StorageError) || !(error.retryable || isOutage(error))) throw error;
      return { entry: cached, from: 'cache', stale: true };
    }
  }

  /** Past its time: the eTag says whether the copy is still what the cloud has. */
  async #revalidate(cached: CacheEntry, want: Want): Promise<Retrieved> {
    const { cache, cloud } = this.#parts;
    const place = await this.#locate(want, { isImpatient: true });
    const asked = cloud!.objects.info(place.key, place.bucket);
    const info = await patiently(`get ${formatRef(want)}`, asked);
    if (info === null) {
      await cache.entries.discard(cached.path);
      throw notFound(want);
    }
    // It may have been replaced or evicted while the cloud was asked.
    if (info.etag !== cached.etag || !cache.markFresh(cached)) return this.#fetch(want);
    return { entry: cached, from: 'cache', stale: false };
  }

  async #fetch(want: Want): Promise<Retrieved> {
    const { cloud, fromReplica, isAway } = this.#parts;
    if (cloud === null) {
      if (want.row === null || !isInCloud(want.row.status)) throw notFound(want);
      const state = 'it is in the cloud alone, which is off (USE_CLOUD_STORAGE)';
      throw new StorageError('unavailable', `Cannot get ${formatRef(want)}: ${state}`);
    }
    if (!fromReplica.isThere) return this.#fetchFromCloud(want, ASKED);
    const isKnownAway = isAway();
    if (isKnownAway) {
      const got = await this.#fetchFromReplica(want, null);
      if (got !== null) return got;
    }
    let located: Place | null = null;
    const onLocated = (place: Place) => {
      located = place;
    };
    try {
      return await this.#fetchFromCloud(want, { isImpatient: !isKnownAway, onLocated });
    } catch (error) {
      if (isKnownAway || !mayBeElsewhere(error)) throw error;
      const got = await this.#fetchFromReplica(want, located);
      if (got !== null) return got;
      // Nobody else has it: it is waited for.
      if (error instanceof StorageError && error.retryable) {
        return this.#fetchFromCloud(want, ASKED);
      }
      throw error;
    }
  }

  async #fetchFromReplica(want: Want, place: Place | null): Promise<Retrieved | null> {
    const entry = await this.#parts.fromReplica.get(want, place);
    return entry && { entry, from: 'replica', stale: place === null };
  }

  /** Downloads, and once more where what arrived is not what was recorded. */
  async #fetchFromCloud(want: Want, way: Way): Promise<Retrieved> {
    try {
      return await this.#download(await this.#locate(want, way), want, way);
    } catch (error) {
      // It was damaged on its way, or a replacement took its place between question and download.
      const again = error instanceof StorageError && AGAIN.has(error.code);
      if (!again || (error.code === 'not_found' && error.cause === undefined)) throw error;
      return this.#download(await this.#locate(want, way), want, way);
    }
  }

  async #download(place: Place, { layOut }: Want, { isImpatient }: Way): Promise<Retrieved> {
    const { cache, cloud } = this.#parts;
    const { key, bucket } = place;
    const silence = isImpatient ? { silenceMs: PATIENCE_MS } : {};
    const download = (file: string) => cloud!.objects.download(key, file, bucket, silence);
    const entry = await fetchCopy(cache, place, download, { layOut, isAsked: true });
    return { entry, from: 'cloud', stale: false };
  }

  /** Where the archive is: as the database says, else as this host uploaded it, else by its key. */
  async #locate(want: Want, { isImpatient, onLocated }: Way): Promise<Place> {
    const { objects, records } = this.#parts.cloud!;
    const { projectId, version, row } = want;
    const asked = records.find(projectId, version);
    const record = await (isImpatient ? patiently(`get ${formatRef(want)}`, asked) : asked);
    if (record !== null) {
      const matches = [undefined, record.generation_id].includes(want.generationId);
      if (!matches || record.status === 'deleted' || !isInCloud(record.status))
        throw notFound(want);
      const ref = { projectId, version, generationId: record.generation_id };
      const { bucket, object_key: key, sha256, digest } = record;
      const place = { ref, key, bucket, sha256, digest };
      onLocated?.(place);
      return place;
    }
    if (row !== null) {
      const ref = { projectId, version, generationId: row.generation_id };
      return { ref, key: keyOf(row), sha256: row.sha256, digest: row.digest };
    }
    const found = await objects.findArchive(projectId, version, want.generationId);
    if (found === null) throw notFound(want);
    return { ...found, digest: null };
  }
}

/** It is waited for as long as it takes. */
const ASKED: Way = { isImpatient: false };

/** Whether a replica may have what the cloud, which knows of it, did not give. */
function mayBeElsewhere(error: unknown): boolean {
  if (!(error instanceof StorageError)) return false;
  if (error.code === 'not_found') return error.cause !== undefined;
  return error.retryable || error.code === 'corrupt' || isOutage(error);
}

/** What is worth another try. */
const AGAIN: ReadonlySet<string> = new Set(['corrupt', 'not_found']);

/** Whether a cached copy is of what this host replaced since. */
function isOther(cached: CacheEntry, row: GenerationRow | null): boolean {
  if (row === null || row.cloud_digest !== null) return false;
  return row.digest !== null && cached.digest !== row.digest;
}
