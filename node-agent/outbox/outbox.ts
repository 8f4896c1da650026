import { StorageError } from '../contract.ts';
import type { OnEvent } from '../events.ts';
import { CloudError } from '../outage.ts';
import { backoffMs, LONGEST_WAIT_MS } from './backoff.ts';
import { Breaker, type OutageCause, type Pass } from './breaker.ts';
import type { Catalog } from './catalog.ts';
import type { Instance } from './instance.ts';
import { JOB_KINDS, type Job, type JobKind, type Jobs } from './jobs.ts';

/**
 * What comes after a step: the next one; nothing (`null`); nothing until somebody has it tried again
 * (`parked`); or an earlier one, after a while, for a reason.
 */
export type Next = JobKind | 'parked' | null | Readonly<{ again: JobKind; because: StorageError }>;

/**
 * Does one step of some jobs, all of one kind, and says of each what comes next, or why it failed.
 * More than one are given only of the kinds in {@link BATCHED}.
 */
export type Work = (jobs: readonly Job[]) => Promise<PromiseSettledResult<Next>[]>;

export type OutboxOptions = {
  catalog: Catalog;
  jobs: Jobs;
  instance: Instance;
  work: Work;
  /** Jobs at once, beside what goes together. */
  concurrency: number;
  /** The time of day, in milliseconds: jobs have it across restarts. */
  now: () => number;
  /** Milliseconds of a clock that nobody sets. */
  monotonic: () => number;
  random: () => number;
  /** Takes a new key where there is one; whether there was. */
  refreshKey: () => Promise<boolean>;
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
  /** Jobs that failed for the cloud's sake since it last answered. */
  readonly #hurt = new Set<number>();
  #timer: NodeJS.Timeout | null = null;
  #polledAt = Number.NEGATIVE_INFINITY;
  #turn: Promise<void> | null = null;
  #again = false;
  #idle: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#breaker = new Breaker(options.monotonic, options.random);
  }

  /** Why everything waits: the cloud is away, or refuses whoever asks; `null` while nothing does. */
  get paused(): OutageCause | null {
    return this.#breaker.cause;
  }

  /**
   * Looks for work now. Called whenever some was added. Never throws: a catalog that is busy or on
   * a full disk is looked at again later.
   */
  wake(): void {
    this.#again = true;
    if (this.#turn !== null || this.#stopping.signal.aborted) return;
    this.#turn = this.#turns()
      .catch((error: unknown) => {
        this.#options.onProblem(error);
        this.#scheduleIn(POLL_MS);
      })
      .finally(() => {
        this.#turn = null;
        if (this.#again) this.wake();
      });
  }

  async #turns(): Promise<void> {
    while (this.#again && !this.#stopping.signal.aborted) {
      this.#again = false;
      await this.#poll();
      await this.#startDue();
    }
    if (this.#running.size === 0) for (const done of this.#idle.splice(0)) done();
    this.#schedule();
  }

  async #poll(): Promise<void> {
    const { catalog, jobs, instance, now, monotonic, refreshKey } = this.#options;
    if (monotonic() - this.#polledAt < POLL_MS) return;
    this.#polledAt = monotonic();
    await catalog.write(() => {
      jobs.freeLeases((id) => instance.isGone(id));
      jobs.freeOwn(instance.id, this.#working);
      jobs.clampDue(now() + LONGEST_WAIT_MS);
    });
    if (this.#breaker.cause?.kind === 'refused' && (await refreshKey())) this.#breaker.tryNow();
  }

  async #startDue(): Promise<void> {
    const { now } = this.#options;
    for (const kind of BATCHED) {
      const isDue = (this.#nextStart([kind]) ?? Number.POSITIVE_INFINITY) <= now();
      if (isDue && this.#mayStart(kind)) await this.#start([kind], BATCH_JOBS);
    }
    while (this.#mayStart('upload')) if (!(await this.#start(SINGLE, 1))) break;
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
    return !this.#stopping.signal.aborted && this.#breaker.allows() && this.#hasRoom(kind);
  }

  /** @returns whether there was anything to start */
  async #start(kinds: readonly JobKind[], limit: number): Promise<boolean> {
    const { catalog, jobs, instance, now, onProblem } = this.#options;
    if ((this.#nextStart(kinds) ?? Number.POSITIVE_INFINITY) > now()) return false;
    const claimed = await catalog.write(() => {
      const some = jobs.claim(kinds, limit, instance.id, now());
      // In the same breath: what is claimed and not worked on is given back.
      for (const { id } of some) this.#working.add(id);
      return some;
    });
    const [first] = claimed;
    if (first === undefined) return false;
    const pass = this.#breaker.start();
    const run = this.#run(claimed, pass)
      .catch(onProblem)
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
    await this.#turn;
    await Promise.all(this.#running.keys());
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const done of this.#idle.splice(0)) done();
  }

  async #run(claimed: readonly Job[], pass: Pass): Promise<void> {
    const { catalog, jobs, work, now } = this.#options;
    const results = await work(claimed).catch((reason: unknown) =>
      claimed.map(() => ({ status: 'rejected', reason }) as const),
    );
    const forgiven = this.#tellBreaker(pass, results, claimed);
    await catalog.write(() => {
      for (const [i, result] of results.entries()) {
        const job = claimed[i]!;
        if (result.status === 'rejected') this.#fail(job, job.kind, result.reason);
        else if (result.value === 'parked') jobs.park(job);
        else if (result.value === null || typeof result.value === 'string') {
          jobs.finish(job, result.value, now());
        } else this.#fail(job, result.value.again, result.value.because);
      }
      jobs.forgive(forgiven, now());
    });
    this.#tell(claimed, results);
  }

  /** Has a job that failed wait for its next attempt, or gives it up. */
  #fail(job: Job, kind: JobKind, error: unknown): void {
    const { jobs, now, random } = this.#options;
    const failure = sayWhy(error);
    if (this.#stopping.signal.aborted) jobs.release(job);
    else if (!mayRetry(job, error)) jobs.giveUp(job, failure, now());
    else {
      const retryAfterMs = error instanceof StorageError ? error.retryAfterMs : null;
      // While everything waits, no job waits for itself as well.
      const waits = !(isOutage(error) && this.#breaker.isOpen);
      const wait = waits ? backoffMs(failedSoOften(job), random(), retryAfterMs) : 0;
      jobs.retry(job, { kind, dueAt: now() + wait, failure });
    }
  }

  /** Tells of what failed, once it is written down. */
  #tell(claimed: readonly Job[], results: readonly PromiseSettledResult<Next>[]): void {
    if (this.#stopping.signal.aborted) return;
    for (const [i, result] of results.entries()) {
      const error = failureOf(result);
      if (error === null) continue;
      const code = error instanceof StorageError ? error.code : 'internal';
      const parked = !mayRetry(claimed[i]!, error);
      this.#options.onProblem(error);
      this.#options.onEvent({ kind: 'attempt_failed', code, parked });
    }
  }

  /**
   * What went together counts as one. A refusal for good is an answer: the cloud is there.
   *
   * @returns the jobs that are to be tried at once: they failed for the cloud's sake
   */
  #tellBreaker(
    pass: Pass,
    results: readonly PromiseSettledResult<Next>[],
    claimed: readonly Job[],
  ): number[] {
    if (this.#stopping.signal.aborted) return [];
    const { onEvent } = this.#options;
    const errors = results.map(failureOf);
    for (const [i, error] of errors.entries()) {
      if (isOutage(error)) this.#hurt.add(claimed[i]!.id);
    }
    const outage = errors.find(isOutage);
    const wasOpen = this.#breaker.isOpen;
    if (outage !== undefined) {
      const cause = { kind: outage.outage!, reason: outage.message };
      this.#breaker.failed(pass, cause, outage.retryAfterMs);
      if (wasOpen || !this.#breaker.isOpen) return [];
      onEvent({ kind: 'cloud_away', cause: cause.kind, reason: cause.reason });
      return [...this.#hurt];
    }
    if (!errors.some((error) => error === null || error instanceof CloudError)) {
      this.#breaker.undecided(pass);
      return [];
    }
    this.#breaker.succeeded();
    const hurt = wasOpen ? [...this.#hurt] : [];
    this.#hurt.clear();
    if (wasOpen) onEvent({ kind: 'cloud_back' });
    return hurt;
  }

  #schedule(): void {
    const { now } = this.#options;
    const breakerMs = this.#breaker.waitMs;
    const open = breakerMs === null ? [] : JOB_KINDS.filter((kind) => this.#hasRoom(kind));
    const due = this.#nextStart(open);
    const wait = due === null ? POLL_MS : Math.max(due - now(), breakerMs ?? 0);
    this.#scheduleIn(Math.min(POLL_MS, Math.max(1, wait)));
  }

  #scheduleIn(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#stopping.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), ms);
    this.#timer.unref();
  }
}

/** Why a step did not end well; `null` where it did. */
function failureOf(result: PromiseSettledResult<Next>): unknown {
  if (result.status === 'rejected') return result.reason;
  const next = result.value;
  return next !== null && typeof next === 'object' ? next.because : null;
}

function isOutage(error: unknown): error is CloudError {
  return error instanceof CloudError && error.outage !== null;
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
  const limited =
    !(error instanceof StorageError) || error.code === 'corrupt' || error.code === 'conflict';
  if (limited && failedSoOften(job) + 1 >= MAX_ATTEMPTS) return false;
  if (!(error instanceof StorageError)) return true;
  // A disk that is full here is made room on.
  return error.retryable || error.code === 'disk_full';
}
