import type { Timeouts } from '../cloud/connection.ts';
import type { Config } from '../config.ts';
import type { Limits } from '../contract.ts';
import type { OnEvent } from '../events/events.ts';

export type StorageOptions = Omit<Config, 'daemon' | 'proxy' | 'scrubDays' | 'cdnUrl'> & {
  limits?: Limits;
  /** The longest waits for the cloud. */
  timeouts?: Timeouts;
  /**
   * Whether to work off what is owed to the cloud.
   *
   * @default true; a command that only reads leaves it to others
   */
  background?: boolean;
  /**
   * For how long what was deleted, and the cloud has not, is kept on this host, in milliseconds; 0: not at all.
   *
   * @default seven days
   */
  keepDeletedMs?: number;
  /** In how many days everything is read once, to find what is damaged; 0: never. @default 30 */
  scrubDays?: number;
  /** What stands before the path of signed URLs of the cloud: a cache. @default the project's own URL */
  cdnUrl?: string | null;
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
