import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import { oweAgain } from '../catalog/owing.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { isOutage } from '../cloud/outage.ts';
import { formatRef, isInCloud, notFound, StorageError, URL_EXPIRY } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { archiveOf } from '../upkeep/archive-of.ts';
import type { Locks } from '../upkeep/locks.ts';
import { archiveName } from './archive.ts';
import { matches, type RefInput } from './find.ts';
import type { FromReplica } from './from-replica.ts';
import { patiently } from './patience.ts';
import { PathSigner } from './signed-path.ts';

export type DownloadUrl = Readonly<{
  url: string;
  expiresAt: string;
  sha256: string | null;
  size: number | null;
}>;

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  locks: Locks;
  instance: Instance;
  /** `null` while the cloud is off. */
  cloud: Cloud | null;
  fromReplica: FromReplica;
  /** `null` where no cache stands before the cloud. */
  cdn: Readonly<{ url: string; projectUrl: string }> | null;
  now: () => number;
  onEvent: Tell;
  onProblem: (error: unknown) => void;
  /** Told that there is work in the background. */
  wake: () => void;
}>;

/** Makes URLs that open an archive for a while: never one that does not work. */
export class DownloadUrls {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @param expiresIn seconds. @throws StorageError `not_found`, `unavailable` */
  async create(
    row: GenerationRow,
    { expiresIn, fromCloud }: { expiresIn: number; fromCloud: boolean },
  ): Promise<DownloadUrl | null> {
    const { cloud } = this.#parts;
    if (cloud !== null && (isInCloud(row.status) || row.cloud_digest !== null)) {
      try {
        return await this.#cloudUrl(cloud, row, expiresIn);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        // Gone from the bucket behind our back: it is sent again.
        const isGone = error.code === 'not_found';
        if (isGone) await this.#oweAgain(row);
        // Gone, away, or refusing our key: what lies here still is served from here.
        if (!isGone && !isAway(error)) throw error;
        const own = fromCloud ? null : await this.#ownUrl(row, expiresIn);
        const url = own ?? (await this.#replicaUrl({ ...refOf(row), row }, expiresIn));
        if (url === null) throw error;
        return url;
      }
    }
    return fromCloud ? null : this.#ownUrl(row, expiresIn);
  }

  /** Of what this host does not know. @throws StorageError `not_found`, `unavailable` */
  async createUnknown(cloud: Cloud, want: RefInput, expiresIn: number): Promise<DownloadUrl> {
    try {
      return await this.#unknownUrl(cloud, want, expiresIn);
    } catch (error) {
      if (!isAway(error)) throw error;
      const url = await this.#replicaUrl({ ...want, row: null }, expiresIn);
      if (url === null) throw error;
      return url;
    }
  }

  async #unknownUrl(cloud: Cloud, want: RefInput, expiresIn: number): Promise<DownloadUrl> {
    const { projectId, version } = want;
    const record = await this.#inTime(want, cloud.records.find(projectId, version));
    if (record === null || !isInCloud(record.status)) throw notFound(want);
    const { object_key: key, sha256, archive_bytes: size } = record;
    const generationId = record.generation_id;
    if (!matches({ projectId, version, generationId }, want)) throw notFound(want);
    const expiresAt = this.#endOf(expiresIn);
    const filename = archiveName({ projectId, version, generationId });
    const signing = cloud.objects.sign(key, expiresIn, filename, record.bucket);
    const url = this.#byCdn(await this.#inTime(want, signing));
    return { url, expiresAt, sha256, size };
  }

  #byCdn(url: string): string {
    const { cdn } = this.#parts;
    if (cdn === null || !url.startsWith(`${cdn.projectUrl}/storage/`)) return url;
    return cdn.url + url.slice(cdn.projectUrl.length);
  }

  /** Where somebody else can be asked, the cloud is not waited for long. */
  #inTime<T>(want: RefInput, asked: Promise<T>): Promise<T> {
    const { fromReplica } = this.#parts;
    return fromReplica.isThere ? patiently(`sign a URL of ${formatRef(want)}`, asked) : asked;
  }

  async #replicaUrl(
    want: RefInput & { row: GenerationRow | null },
    expiresIn: number,
  ): Promise<DownloadUrl | null> {
    const signed = await this.#parts.fromReplica.sign(want, null, expiresIn, archiveName);
    if (signed === null) return null;
    const { url, sha256, size } = signed;
    return { url, expiresAt: this.#endOf(signed.expiresIn), sha256, size };
  }

  #endOf(expiresIn: number): string {
    return new Date(this.#parts.now() + expiresIn * 1000).toISOString();
  }

  async #oweAgain(row: GenerationRow): Promise<void> {
    const { catalog, now, wake } = this.#parts;
    await catalog.write(() => oweAgain(catalog, refOf(row), now()));
    wake();
  }

  async #cloudUrl(
    { objects, records }: Cloud,
    row: GenerationRow,
    expiresIn: number,
  ): Promise<DownloadUrl> {
    const ref = refOf(row);
    const expiresAt = this.#endOf(expiresIn);
    // Of what is there: another host may have replaced it, or packed the same content.
    const record = await this.#inTime(ref, records.find(ref.projectId, ref.version));
    if (record !== null && !isInCloud(record.status)) throw notFound(ref);
    const key = record?.object_key ?? keyOf(row);
    const signing = objects.sign(key, expiresIn, archiveName(ref), record?.bucket);
    const url = this.#byCdn(await this.#inTime(ref, signing));
    const sha256 = record === null ? row.sha256 : record.sha256;
    const size = record === null ? row.archive_bytes : record.archive_bytes;
    return { url, expiresAt, sha256, size };
  }

  async #ownUrl(row: GenerationRow, expiresIn: number): Promise<DownloadUrl | null> {
    const { instance, store, now } = this.#parts;
    const base = instance.announced();
    if (base === null || row.digest === null || !store.has(refOf(row))) return null;
    // Made now where it is not yet.
    const archive = row.sha256 === null ? await archiveOf(this.#parts, refOf(row)) : null;
    const expires = Math.floor(now() / 1000) + expiresIn;
    return {
      url: base + this.signer.sign(refOf(row), expires),
      expiresAt: new Date(expires * 1000).toISOString(),
      sha256: archive?.sha256 ?? row.sha256,
      size: archive?.bytes ?? row.archive_bytes,
    };
  }

  /** Lets every process on the store give out URLs that this one serves. */
  announce(url: string): void {
    this.#parts.instance.announce(url.replace(/\/+$/, ''));
  }

  /** Has the key be there. */
  makeKey(): void {
    void this.signer;
  }

  /** What tells whether a URL of this host is genuine. */
  get signer(): PathSigner {
    return new PathSigner(this.#parts.store.layout.urlKey, this.#parts.onProblem);
  }
}

const isAway = (error: unknown) =>
  error instanceof StorageError && (error.retryable || isOutage(error));

/** @throws StorageError `invalid_input` */
export function parseExpiry(expiresIn: number | undefined): number {
  const seconds = expiresIn ?? URL_EXPIRY.default;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= URL_EXPIRY.max) return seconds;
  throw new StorageError(
    'invalid_input',
    `Cannot sign a URL for ${seconds} seconds: it is good for 1 to ${URL_EXPIRY.max}`,
  );
}
