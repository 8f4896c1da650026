import type { GenerationDetails } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';

/** What is good enough for whoever waits. */
const ENOUGH: Readonly<Record<'uploaded' | 'verified', ReadonlySet<string>>> = {
  uploaded: new Set(['uploaded', 'verified']),
  verified: new Set(['verified']),
};
/** Not known yet, or out of reach for a while. */
const PASSING: ReadonlySet<string> = new Set(['not_found', 'unavailable', 'rate_limited']);
const WAIT_MS = 300_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
/** Where news come by themselves it is asked now and then all the same: one may get lost. */
const LIVE_PAUSE_MS = 30_000;

/** Tells that something became of the generation. */
export type News = Readonly<{
  /** Whether that is told: else it has to be asked for. */
  isOn(): boolean;
  /** Comes with the next news, and where they begin or end to be told. */
  next(): Promise<void>;
}>;

/**
 * Asks until a generation has a status: at each news of it where they come, else again and again, ever more
 * seldom.
 *
 * @param show what asks
 * @param options.waitMs how long, in milliseconds
 * @throws StorageError `conflict` where its upload was given up; the last failure where it takes too long
 */
export async function waitUntil(
  show: () => Promise<GenerationDetails>,
  status: 'uploaded' | 'verified',
  options: Readonly<{ waitMs?: number; signal?: AbortSignal; news: News | null }>,
): Promise<GenerationDetails> {
  const { waitMs = WAIT_MS, signal, news } = options;
  if (!(waitMs >= 0)) {
    throw new StorageError(
      'invalid_input',
      'Cannot wait: timeoutMs must be a number of milliseconds',
    );
  }
  const deadline = performance.now() + waitMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    // From before it is asked, so that none comes in between.
    const told = news?.next();
    const seen = await show().catch((error: unknown) => {
      if (error instanceof StorageError && PASSING.has(error.code)) return error;
      throw error;
    });
    if (!(seen instanceof StorageError)) {
      if (ENOUGH[status].has(seen.status)) return seen;
      if (seen.status === 'failed') {
        const message = `Cannot wait for "${seen.project_id} v${seen.version}": its upload failed: ${seen.failure}`;
        throw new StorageError('conflict', message);
      }
    }
    const left = deadline - performance.now();
    if (left <= 0) throw tooLate(status, waitMs, seen);
    // Many that wait for the same do not ask at once.
    const longest = news?.isOn() ? LIVE_PAUSE_MS : pause;
    await sleep(Math.min(left, longest * (0.5 + Math.random())), signal, told);
  }
}

function tooLate(status: string, waitMs: number, seen: GenerationDetails | StorageError) {
  const state = seen instanceof StorageError ? seen.message : `it is ${seen.status}`;
  return new StorageError('unavailable', `Not ${status} within ${waitMs} ms: ${state}`, {
    cause: seen instanceof StorageError ? seen : undefined,
  });
}

/** @param woken ends it, too. @throws whatever the signal was aborted with */
async function sleep(ms: number, signal?: AbortSignal, woken?: Promise<void>): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<void>();
  void woken?.then(resolve);
  const timer = setTimeout(resolve, ms);
  const end = () => resolve();
  signal?.addEventListener('abort', end, { once: true });
  await promise;
  clearTimeout(timer);
  signal?.removeEventListener('abort', end);
  signal?.throwIfAborted();
}
