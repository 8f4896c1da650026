/** What the library takes and gives. Sizes are bytes, times ISO 8601 UTC. */
import type { Timeouts } from './cloud/connection.ts';
import type { Config } from './config.ts';
import type { Limits, Manifest, Ref, Status } from './contract.ts';
import type { OnEvent } from './events.ts';
import type { ScanProgress } from './scan.ts';
import type { LeftOut } from './store/left-out.ts';

/** What a save returns: from here on the generation cannot be lost. */
export type Receipt = Readonly<
  Ref & {
    status: Status;
    /**
     * Whether the version was chosen without the cloud, which was away: where it has that version,
     * this generation gets another one.
     */
    versionProvisional: boolean;
    /** False where the same content was there already. */
    created: boolean;
    path: string;
    fileCount: number;
    /** Bytes of the files. */
    bytes: number;
    /** Bytes and hash of the archive. */
    archiveBytes: number;
    sha256: string;
    digest: string;
    /** What of a folder or a tar was not saved: how much, and the first of it by name. */
    leftOut: LeftOut;
  }
>;

/** What is known of a generation without reading its files. */
export type Summary = Readonly<
  Ref & {
    status: Status;
    /** Why the upload is parked. */
    failure: string | null;
    fileCount: number | null;
    bytes: number | null;
    archiveBytes: number | null;
    digest: string | null;
    sha256: string | null;
    objectKey: string;
    createdAt: string;
    uploadedAt: string | null;
  }
>;

/** A generation that can be read. */
export type LocalGeneration = Readonly<
  Ref & {
    /** The folder with `manifest.json` and `source/`. */
    path: string;
    sourcePath: string;
    manifest: Manifest;
    from: 'store' | 'cache' | 'cloud';
    /** Whether it may be out of date: past its time, and the cloud could not be asked. */
    stale: boolean;
  }
>;

export type ProjectSummary = Readonly<{
  projectId: string;
  ownerId: string | null;
  versions: number;
  latestVersion: number;
  bytes: number;
}>;

export type DownloadUrl = Readonly<{
  url: string;
  expiresAt: string;
  sha256: string | null;
  size: number | null;
}>;

/** An archive in the store. */
export type ArchiveOnDisk = Readonly<
  Ref & {
    path: string;
    bytes: number;
    sha256: string;
    /** What a browser is to save it as. */
    filename: string;
  }
>;

/** A step that is owed to the cloud. */
export type OwedUpload = Readonly<
  Ref & {
    step: 'reserve' | 'upload' | 'record' | 'verify' | 'delete';
    /** From when on it is owed. */
    since: string;
    attempts: number;
    /** When it is tried next; `null` where it is parked. */
    dueAt: string | null;
    parked: boolean;
    /** Why the last attempt failed. */
    failure: string | null;
  }
>;

export type StorageStatus = Readonly<{
  storePath: string;
  cloud: { enabled: boolean; url: string | null; bucket: string | null };
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
}>;

/** Names a generation; its generation id, where given, must match. */
export type RefInput = Readonly<{ projectId: string; version: number; generationId?: string }>;

export type ListPage<T, C> = Readonly<{ items: T[]; nextCursor: C | null }>;

export type StorageOptions = Omit<Config, 'daemon'> & {
  limits?: Limits;
  /** The longest waits for the cloud. */
  timeouts?: Timeouts;
  /**
   * Whether to work off what is owed to the cloud.
   *
   * @default true; a command that only reads leaves it to others
   */
  background?: boolean;
  /** Told of what went wrong in the background: it is tried again, parked or passed over. */
  onProblem?: (error: unknown) => void;
  /** Told of what happens, to count it. */
  onEvent?: OnEvent;
  /** What sends requests to the cloud, in this thread. @default fetch, in threads of their own */
  fetch?: typeof fetch;
  /** The time of day, in milliseconds. */
  now?: () => number;
  /** Milliseconds of a clock that nobody sets. */
  monotonic?: () => number;
  random?: () => number;
};
