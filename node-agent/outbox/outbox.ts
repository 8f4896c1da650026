import { StorageError } from '../contract.ts';
import type { OnEvent } from '../events.ts';
import { backoffMs } from './backoff.ts';
import { Breaker } from './breaker.ts';
import type { Instance } from './instance.ts';
import { JOB_KINDS, type Job, type JobKind, type Jobs } from './jobs.ts';

/**
 * Does one step of some jobs, all of one kind, and says of each what comes next, `null` where
 * nothing does, or why it failed. More than one are given only of the kinds in {@link BATCHED}.
 */
export type Work = (jobs: readonly Job[]) => Promise<PromiseSettledResult<JobKind | null>[]>;

export type OutboxOptions = {
  jobs: Jobs;
  instance: Instance;
  work: Work;
  /** Jobs at once, beside what goes together. */
  concurrency: number;
  now: () => number;
  random: () => number;
  /** Told of every job that did not end well. Never throws. */
  onProblem: (error: unknown) => void;
  onEvent: OnEvent;
};

/** How often other processes' jobs and leases are looked for. */
const POLL_MS = 2000;

/**
 * Steps that take one request for many: one such request of each kind at a time, and what becomes
 * due meanwhile goes with the next.
 */
const BATCHED: readonly JobKind[] = ['reserve', 'record'];
const BATCH_JOBS = 32;
/**
 * How long what is uploaded waits to be recorded, in milliseconds, while there are uploads under way
 * that it could be recorded with.
 */
const GATHER_MS = 100;
const SINGLE = JOB_KINDS.filter((kind) => !BATCHED.includes(kind));

/** What may pass, but is no outage, is tried so often: wrong bytes, a race, a mistake of ours. */
const MAX_ATTEMPTS = 5;

/** Works off what is owed to the cloud, in the background, for as long as it is started. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stopping = new AbortController();
  readonly #breaker: Breaker;
  readonly #running = new Map<Promise<void>, JobKind>();
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
    const { jobs, instance, now } = this.#options;
    if (now() - this.#polledAt >= POLL_MS) {
      this.#polledAt = now();
      jobs.freeLeases((id) => instance.isGone(id));
      jobs.freeOwn(instance.id, this.#working);
    }
    for (const kind of BATCHED) {
      const isDue = (this.#nextStart([kind]) ?? Number.POSITIVE_INFINITY) <= now();
      if (isDue && this.#mayStart(kind)) {
        this.#start(jobs.claim([kind], BATCH_JOBS, instance.id, now()));
      }
    }
    while (this.#mayStart('upload')) {
      if (!this.#start(jobs.claim(SINGLE, 1, instance.id, now()))) break;
    }
    if (this.#running.size === 0) for (const done of this.#idle.splice(0)) done();
    this.#schedule();
  }

  /** Whether there is room for another job of this kind. */
  #hasRoom(kind: JobKind): boolean {
    const running = [...this.#running.values()];
    if (BATCHED.includes(kind)) return !running.includes(kind);
    return running.filter((other) => SINGLE.includes(other)).length < this.#options.concurrency;
  }

  /** When a job of these kinds is to start; `null` where none waits. */
  #nextStart(kinds: readonly JobKind[]): number | null {
    const isUploading = [...this.#running.values()].includes('upload');
    const starts = kinds.flatMap((kind) => {
      const due = this.#options.jobs.nextDue(kind);
      if (due === null) return [];
      return kind === 'record' && isUploading ? due + GATHER_MS : due;
    });
    return starts.length === 0 ? null : Math.min(...starts);
  }

  #mayStart(kind: JobKind): boolean {
    return this.#breaker.allows() && this.#hasRoom(kind);
  }

  /** @returns whether there was anything to start */
  #start(claimed: readonly Job[]): boolean {
    const [first] = claimed;
    if (first === undefined) return false;
    this.#breaker.started();
    for (const { id } of claimed) this.#working.add(id);
    const run = this.#run(claimed)
      .catch((error: unknown) => this.#options.onProblem(error))
      .finally(() => {
        for (const { id } of claimed) this.#working.delete(id);
        this.#running.delete(run);
        this.wake();
      });
    this.#running.set(run, first.kind);
    return true;
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
    await Promise.all(this.#running.keys());
    for (const done of this.#idle.splice(0)) done();
  }

  async #run(claimed: readonly Job[]): Promise<void> {
    const { jobs, work, now } = this.#options;
    const results = await work(claimed).catch((reason: unknown) =>
      claimed.map(() => ({ status: 'rejected', reason }) as const),
    );
    this.#tellBreaker(results);
    jobs.together(() => {
      for (const [i, result] of results.entries()) {
        const job = claimed[i]!;
        if (result.status === 'fulfilled') jobs.finish(job, result.value, now());
        else if (this.#stopping.signal.aborted) jobs.release(job);
        else this.#setBack(job, result.reason);
      }
    });
  }

  /** Has a job that failed wait for its next attempt, or sets it aside. */
  #setBack(job: Job, error: unknown): void {
    const { jobs, now, random, onProblem, onEvent } = this.#options;
    onProblem(error);
    const failure = error instanceof StorageError ? error.message : `Unexpected: ${error}`;
    const isRetried = mayRetry(job, error);
    const code = error instanceof StorageError ? error.code : 'internal';
    onEvent({ kind: 'attempt_failed', code, parked: !isRetried });
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

  /** What went together counts as one. A refusal for good is an answer: the cloud is there. */
  #tellBreaker(results: readonly PromiseSettledResult<unknown>[]): void {
    if (this.#stopping.signal.aborted) return;
    const errors = results.map((result) =>
      result.status === 'rejected' ? (result.reason as unknown) : null,
    );
    const away = errors.find(isAway);
    if (away !== undefined) this.#breaker.failed(away.retryAfterMs);
    else if (errors.some((error) => error === null || error instanceof StorageError)) {
      this.#breaker.succeeded();
    } else this.#breaker.undecided();
  }

  #schedule(): void {
    const { now } = this.#options;
    const open = this.#breaker.isProbing ? [] : JOB_KINDS.filter((kind) => this.#hasRoom(kind));
    const job = this.#nextStart(open);
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

function isAway(error: unknown): error is StorageError {
  return (
    error instanceof StorageError && (error.code === 'unavailable' || error.code === 'rate_limited')
  );
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
