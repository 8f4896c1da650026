import type { ErrorCode } from './contract.ts';

/** What happened, for whoever counts. Times are milliseconds, sizes bytes. */
export type StorageEvent = Readonly<
  | { kind: 'save'; created: boolean; files: number; bytes: number; ms: number }
  | { kind: 'upload'; bytes: number; ms: number }
  /** A step towards the cloud that did not end well: it is tried again, or parked. */
  | { kind: 'attempt_failed'; code: ErrorCode; parked: boolean }
  | { kind: 'get'; from: 'store' | 'cache' | 'cloud' }
  | { kind: 'evict'; copies: number; bytes: number }
>;

/** Told of what happens. Never throws. */
export type OnEvent = (event: StorageEvent) => void;
