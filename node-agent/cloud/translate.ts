import { type ErrorCode, StorageError } from '../contract.ts';
import { lastRetryAfter } from './retry-after.ts';

/** What supabase-js says went wrong, in either of its shapes. */
export type ForeignError = {
  message?: string;
  status?: number;
  /** Storage: the real status, where HTTP says 400. */
  statusCode?: string;
  code?: string;
  originalError?: unknown;
};

const CODES: Record<number, ErrorCode> = {
  400: 'invalid_input',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  413: 'too_large',
  415: 'invalid_input',
  422: 'invalid_input',
  429: 'rate_limited',
};

/** Statuses that say: not now. */
const PASSING = new Set([408, 425]);

/** The status that storage means: its errors come as HTTP 400 with the real one in the body. */
export function realStatus(error: unknown): number {
  const { statusCode, status } = (error ?? {}) as ForeignError;
  const real = Number(statusCode);
  return Number.isInteger(real) && real >= 100 ? real : Number(status) || 0;
}

/** What an answer that is no success says: storage puts the real status into the body. */
export function fromResponse(status: number, text: string): ForeignError {
  try {
    return { status, ...(JSON.parse(text) as ForeignError) };
  } catch {
    return { status, message: text };
  }
}

/**
 * Translates an error of the platform, once, where it enters.
 *
 * @param doing completes "Cannot …": what could not be done, to what
 * @param who answered: `storage` or `the database`
 */
export function fromPlatform(error: unknown, doing: string, who: string): StorageError {
  if (error instanceof StorageError) return error;
  const status = realStatus(error);
  const passing = status === 0 || status >= 500 || PASSING.has(status);
  const code = passing ? 'unavailable' : (CODES[status] ?? 'unavailable');
  const retryAfterMs = passing || status === 429 ? lastRetryAfter() : null;
  const state = status === 0 ? 'is out of reach' : `answered ${status}`;
  return new StorageError(code, `Cannot ${doing}: ${who} ${state}`, {
    cause: error,
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
  });
}

/**
 * Runs what the network or the disk may end, and says which it was.
 *
 * @param doing as for {@link fromPlatform}, of which storage is asked
 */
export async function translated<T>(doing: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    // What the disk says has a code of its own and is not storage's.
    if (typeof (error as NodeJS.ErrnoException).syscall === 'string') throw error;
    throw fromPlatform(error, doing, 'storage');
  }
}
