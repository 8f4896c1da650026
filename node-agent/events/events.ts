import type { ErrorCode, Ref } from '../contract.ts';

/** What happened, for whoever counts. Times are milliseconds, sizes bytes. */
export type StorageEvent = Readonly<
  | { kind: 'save'; created: boolean; files: number; bytes: number; ms: number }
  | { kind: 'upload'; bytes: number; ms: number }
  /** A step towards the cloud that did not end well: it is tried again, or parked. */
  | { kind: 'attempt_failed'; code: ErrorCode; parked: boolean }
  | { kind: 'get'; from: 'store' | 'cache' | 'cloud' }
  | { kind: 'evict'; copies: number; bytes: number }
  /**
   * The cloud has other content under the name of this generation, or has the name for another one,
   * so that what lies here is not what others get. `reason` says which.
   */
  | ({ kind: 'conflict'; reason: string } & Ref)
  /** Deleted in the cloud, by the web app or another host, and therefore here. */
  | ({ kind: 'deleted_elsewhere' } & Ref)
  /** Saved anew under another version, for the cloud had given its own to another generation. */
  | ({ kind: 'renumbered'; from: number } & Ref)
  /** Neither this host nor the cloud has the bytes of it any more. */
  | ({ kind: 'lost' } & Ref)
  /** Everything waits: the cloud is out of reach, or refuses the key or the plan. */
  | { kind: 'cloud_away'; cause: 'away' | 'refused'; reason: string }
  | { kind: 'cloud_back' }
  /** The database knows less than it did: it was restored, or is another one. All is owed again. */
  | { kind: 'cloud_older' }
>;

/** Told of what happens. Never throws. */
export type OnEvent = (event: StorageEvent) => void;
