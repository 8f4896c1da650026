import type { Catalog } from '../catalog/catalog.ts';
import type { Job, Step } from '../catalog/jobs.ts';
import { giveUp, isObsolete } from '../catalog/owing.ts';
import { isOutage } from '../cloud/outage.ts';
import { StorageError } from '../contract.ts';
import { backoffMs } from './backoff.ts';
import { LIFE, type Outcome, type StepResult } from './life.ts';
import { GIVE_UP_AFTER } from './retries.ts';

/** What a step came to, and why it did not end well; `null` where it did. */
export type Settled = Readonly<{ outcome: Outcome; because: unknown }>;

/** At which step an upload or a deletion was given up, and why. */
export type Parked = Readonly<{ step: Step; reason: string }>;

/** Reads what a step said, or why it failed. */
export function outcomeOf(job: Job, result: PromiseSettledResult<StepResult>): Settled {
  if (result.status === 'rejected') {
    const { reason: because } = result;
    return { outcome: mayRetry(job, because) ? 'failed' : 'refused', because };
  }
  const { value } = result;
  if (typeof value === 'string') return { outcome: value, because: null };
  // Back to where it was already, again and again, leads nowhere.
  const isEndless = !mayRetry(job, value.because);
  return { outcome: isEndless ? 'refused' : value.outcome, because: value.because };
}

/**
 * Writes down what comes after a step, as {@link LIFE} says. In a transaction of the caller's.
 *
 * @param options.waits false while the breaker is open: it does the waiting, and the job is due at once
 * @param options.random from 0 to 1
 * @returns where it is parked now: at which step it was given up, and why
 */
export function settle(
  catalog: Catalog,
  job: Job,
  { outcome, because }: Settled,
  options: Readonly<{ now: number; random: number; waits: boolean }>,
): Parked | null {
  const { jobs } = catalog;
  const { now, random, waits } = options;
  if (isObsolete(catalog, job)) {
    jobs.end(job);
    return null;
  }
  const next = LIFE[job.step][outcome];
  const failure = because === null ? job.failure : sayWhy(because);
  if (next === 'end') jobs.end(job);
  else if (next === 'park') jobs.park(job, failure);
  else if (next === 'give_up') giveUp(catalog, job, failure ?? '', now);
  else if ('go' in next) jobs.advance(job, next.go, now);
  else {
    const retryAfterMs = because instanceof StorageError ? because.retryAfterMs : null;
    const wait = waits ? backoffMs(failedSoOften(job), random, retryAfterMs) : 0;
    jobs.retry(job, { step: next.again, dueAt: now + wait, failure: failure ?? '' });
  }
  return next === 'park' ? { step: job.given_up_at ?? job.step, reason: failure ?? '' } : null;
}

function sayWhy(error: unknown): string {
  return error instanceof StorageError ? error.message : `Unexpected: ${error}`;
}

/** A step that ends well may still lead nowhere, and back to where it began. */
function failedSoOften({ attempts, setbacks }: Job): number {
  return Math.max(attempts, setbacks);
}

/**
 * A cloud that is away comes back, so that is tried for ever; what it refuses for good is not.
 */
function mayRetry(job: Job, error: unknown): boolean {
  if (isOutage(error)) return true;
  const isLimited =
    !(error instanceof StorageError) || error.code === 'corrupt' || error.code === 'conflict';
  if (isLimited && failedSoOften(job) + 1 >= GIVE_UP_AFTER) return false;
  if (!(error instanceof StorageError)) return true;
  // A disk that is full here is made room on.
  return error.retryable || error.code === 'disk_full';
}
