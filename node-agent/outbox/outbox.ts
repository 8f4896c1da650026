import { StorageError } from '../contract.ts';
import type { OnEvent } from '../events.ts';
import { backoffMs } from './backoff.ts';
import { Breaker } from './breaker.ts';
import type { Instance } from './instance.ts';
import type { Job, JobKind, Jobs } from './jobs.ts';

/** Does one step of a job and says what comes next; `null` where nothing does. */
export type Work = (job: Job) => Promise<JobKind | null>;

export type OutboxOptions = {
  jobs: Jobs;
  instance: Instance;
  work: Work;
  /** Jobs at once. */
  concurrency: number;
  now: () => number;
  random: () => number;
  /** Told of every job that did not end well. Never throws. */
  onProblem: (error: unknown) => void;
  onEvent: OnEvent;
};

/** How often other processes' jobs and leases are looked for. */
const POLL_MS = 2000;

/** What may pass, but is no outage, is tried so often: wrong bytes, a race, a mistake of ours. */
const MAX_ATTEMPTS = 5;

/** Works off what is owed to the cloud, in the background, for as long as it is started. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stopping = new AbortController();
  readonly #breaker: Breaker;
  readonly #running = new Set<Promise<void>>();
  readonly #working = new Set<number>();
  #timer: NodeJS.Timeout | null = null;
  #polledAt = 0;
  #idle: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#breaker = new Breaker(options.now, options.random);
  }

  /** Whether everything waits because the cloud is away. */
  get isPaused(): boolean {
    return this.#breaker.isOpen;
  }

  /**
   * Looks for work now. Called whenever some was added. Never throws: a catalog that is busy or on
   * a full disk is looked at again later.
   */
  wake(): void {
    try {
      this.#wake();
    } catch (error) {
      this.#options.onProblem(error);
      this.#scheduleIn(POLL_MS);
    }
  }

  #wake(): void {
    if (this.#stopping.signal.aborted) return;
    const { jobs, instance, concurrency, now } = this.#options;
    if (now() - this.#polledAt >= POLL_MS) {
      this.#polledAt = now();
      jobs.freeLeases((id) => instance.isGone(id));
      jobs.freeOwn(instance.id, this.#working);
    }
    while (this.#running.size < concurrency && this.#breaker.allows()) {
      const job = jobs.claim(instance.id, now());
      if (job === null) break;
      this.#breaker.started();
      this.#working.add(job.id);
      const run = this.#run(job)
        .catch((error: unknown) => this.#options.onProblem(error))
        .finally(() => {
          this.#working.delete(job.id);
          this.#running.delete(run);
          this.wake();
        });
      this.#running.add(run);
    }
    if (this.#running.size === 0) for (const done of this.#idle.splice(0)) done();
    this.#schedule();
  }

  /**
   * Waits until nothing is left that could be done now: all done, parked, or waiting for a retry.
   *
   * @param timeoutMs the longest wait
   */
  async drain(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    this.wake();
    const timer = setTimeout(resolve, timeoutMs);
    await promise;
    clearTimeout(timer);
  }

  /** Stops: what is under way is given up, stays owed, and is done by the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort(new StorageError('unavailable', 'The agent is shutting down'));
    if (this.#timer !== null) clearTimeout(this.#timer);
    await Promise.all(this.#running);
    for (const done of this.#idle.splice(0)) done();
  }

  async #run(job: Job): Promise<void> {
    const { jobs, work, now, random } = this.#options;
    try {
      const next = await work(job);
      this.#breaker.succeeded();
      jobs.finish(job, next, now());
    } catch (error) {
      if (this.#stopping.signal.aborted) {
        jobs.release(job);
        return;
      }
      this.#tellBreaker(error);
      this.#options.onProblem(error);
      const failure = error instanceof StorageError ? error.message : `Unexpected: ${error}`;
      const isRetried = mayRetry(job, error);
      const code = error instanceof StorageError ? error.code : 'internal';
      this.#options.onEvent({ kind: 'attempt_failed', code, parked: !isRetried });
      if (isRetried) {
        const wait = backoffMs(
          job.attempts,
          random(),
          error instanceof StorageError ? error.retryAfterMs : null,
        );
        jobs.retry(job, now() + wait, failure);
      } else {
        jobs.park(job, failure);
      }
    }
  }

  /** A refusal for good is an answer: the cloud is there. */
  #tellBreaker(error: unknown): void {
    if (!(error instanceof StorageError)) this.#breaker.undecided();
    else if (error.code === 'unavailable' || error.code === 'rate_limited') {
      this.#breaker.failed(error.retryAfterMs);
    } else this.#breaker.succeeded();
  }

  #schedule(): void {
    const { jobs, now, concurrency } = this.#options;
    const isOpen = this.#running.size < concurrency && !this.#breaker.isProbing;
    const job = isOpen ? jobs.nextDue() : null;
    const due = job === null ? null : Math.max(job, this.#breaker.nextProbeAt ?? job);
    this.#scheduleIn(due === null ? POLL_MS : Math.min(POLL_MS, Math.max(1, due - now())));
  }

  #scheduleIn(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#stopping.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), ms);
    this.#timer.unref();
  }
}

/**
 * A cloud that is away comes back, so that is tried for ever; what it refuses for good is not.
 */
function mayRetry(job: Job, error: unknown): boolean {
  const limited =
    !(error instanceof StorageError) || error.code === 'corrupt' || error.code === 'conflict';
  if (limited && job.attempts + 1 >= MAX_ATTEMPTS) return false;
  if (!(error instanceof StorageError)) return true;
  // A disk that is full here is made room on.
  return error.retryable || error.code === 'disk_full';
}
