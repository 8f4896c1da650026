import type { ErrorCode, Ref } from '../contract.ts';

/** The generation that an event is about, and the user whose it is. */
type About = Readonly<Ref & { ownerId: string | null }>;

/**
 * What can happen, and what is told of it. Log lines, metrics and problems come from it. Durations
 * (`ms`) are milliseconds, sizes bytes.
 */
export type EventMap = Readonly<{
  /** A generation was saved; not `created` where the same content was there already. */
  save: About & { created: boolean; files: number; bytes: number; ms: number };
  /** The archive of a save was made: what is sent, and served. `bytes` are the archive's. */
  settled: About & { sha256: string; bytes: number };
  /** An archive was sent. `bytes` are the archive's. */
  upload: About & { bytes: number; ms: number };
  /** The bytes of an archive are proven to be in the cloud. */
  verified: About & { bytes: number | null };
  /** A generation was got to be read. */
  get: About & { from: 'store' | 'cache' | 'cloud'; files: number; bytes: number };
  /** A generation was deleted here. */
  delete: About;
  /**
   * Generations went from this host: copies in the `cache` that were too old or too much, or originals
   * in the `store` that are proven to be in the cloud.
   */
  evict: { from: 'cache' | 'store' | 'trees'; generations: number; bytes: number };
  /** A step towards the cloud did not end well: it is tried again, or `givenUp`. */
  attempt_failed: Omit<About, 'generationId'> & {
    step: 'reserve' | 'upload' | 'record' | 'verify' | 'fail' | 'delete';
    code: ErrorCode;
    givenUp: boolean;
  };
  /**
   * The cloud has other content under the name of a generation, or has the name for another one, so
   * that what lies here is not what others get. `reason` says which.
   */
  conflict: About & { reason: string };
  /** A generation was deleted in the cloud, by the web app or another host, and therefore here. */
  deleted_elsewhere: About;
  /** A generation was saved anew under this version, for the cloud had given `from` to another. */
  renumbered: About & { from: number };
  /** Neither this host nor the cloud has the bytes of a generation any more. */
  lost: About;
  /** Everything waits: the cloud is out of reach, or refuses the key or the plan. */
  cloud_away: { cause: 'away' | 'refused'; reason: string };
  cloud_back: object;
  /** The database knows less than it did: it was restored, or is another one. All is owed again. */
  cloud_older: object;
  /** Something went wrong in the background. `reason` is a sentence, of a mistake of ours the stack. */
  problem: { code: ErrorCode; reason: string };
}>;

export type EventKind = keyof EventMap;

/** What happened, and `at` which time, in ISO 8601 UTC. */
export type StorageEvent = {
  [K in EventKind]: Readonly<{ kind: K; at: string } & EventMap[K]>;
}[EventKind];

/** Listens to what happens. */
export type OnEvent = (event: StorageEvent) => void;

/** An event as it is told from where it happens. */
export type Told = {
  [K in EventKind]: Readonly<{ kind: K } & Omit<EventMap[K], 'ownerId'>>;
}[EventKind];

/** Tells what happens. Never throws. */
export type Tell = (event: Told) => void;
