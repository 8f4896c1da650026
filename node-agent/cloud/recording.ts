/** What a host tells the database of a generation. */
import type { BlockIndex } from '../archive/pack.ts';
import type { Manifest, Ref } from '../contract.ts';

/** What is said of a generation before a byte of it is sent. */
export type Reservation = Readonly<{
  ref: Ref;
  /** Where its archive lies already; left out, a key is given. */
  objectKey?: string;
  digest: string | null;
  sha256: string;
  /** Of the archive: tells whether what lies under a key is it. */
  md5?: string | null;
  archiveBytes: number | null;
  sourceBytes: number | null;
  fileCount: number | null;
  createdAt: string;
  ownerId: string | null;
  /** Whether it may take the place of other content under the same ref. */
  replace: boolean;
  /** Who reserves it: what it had reserved before, and not sent, is not needed then. */
  hostId?: string;
  /** Where the cloud has it, as far as this host knows: a database that was put back may not. */
  sentKey?: string | null;
  /** When a deletion of it was undone here last: one that comes late is of before that. ISO 8601. */
  undeletedAt?: string | null;
  /** Where it may have something that this host replaced since. */
  earlierKeys?: readonly string[];
}>;

/** What is said of a generation whose archive is in the bucket. */
export type Recording = Readonly<{
  ref: Ref;
  /** That was reserved for it. */
  objectKey: string;
  /** Of the content, where this host has proven it. */
  digest?: string | null;
  /** Of the archive under that key. */
  sha256: string;
  /** Whether its bytes are proven equal. */
  status: 'uploaded' | 'verified';
  /** Files in it, more or less: a request carries the names of so many at most. */
  fileCount: number;
  /**
   * Reads what is recorded with it; `null` where that was done. With the MD5 of the archive:
   * where Storage says the same, the row is `verified` at once.
   */
  readDetails: (() => RecordedDetails & { md5: string }) | null;
}>;

export type RecordedDetails = Readonly<{ manifest: Manifest; blockIndex: BlockIndex | null }>;

/** How many files the manifests in one request may have: each takes about 200 bytes. */
const MAX_FILES = 2_000;

/**
 * So that no request is too large, and few manifests are in memory at once.
 *
 * @param most how many may be in one
 */
export function* inGroups(
  recordings: readonly Recording[],
  most = Number.POSITIVE_INFINITY,
): Iterable<Recording[]> {
  let group: Recording[] = [];
  let files = 0;
  for (const one of recordings) {
    const isFull = group.length >= most || files + one.fileCount > MAX_FILES;
    if (group.length > 0 && isFull) {
      yield group;
      group = [];
      files = 0;
    }
    group.push(one);
    files += one.fileCount;
  }
  if (group.length > 0) yield group;
}

/** What is said of a reservation, by whichever key. */
export const reservationItem = (given: Reservation) => ({
  project_id: given.ref.projectId,
  version: given.ref.version,
  generation_id: given.ref.generationId,
  digest: given.digest,
  sha256: given.sha256,
  md5: given.md5 ?? null,
  archive_bytes: given.archiveBytes,
  source_bytes: given.sourceBytes,
  file_count: given.fileCount,
  created_at: given.createdAt,
  owner_id: given.ownerId,
  sent_key: given.sentKey ?? null,
  undeleted_at: given.undeletedAt ?? null,
});

/** Of one that was asked for alone. @throws why it was refused */
export function settledValue<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
