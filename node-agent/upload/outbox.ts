import type { Catalog } from '../catalog/catalog.ts';
import type { Instance } from '../catalog/instance.ts';
import { JOB_KINDS, type Job, type JobKind, type Jobs } from '../catalog/jobs.ts';
import { CloudError, type Service } from '../cloud/outage.ts';
import { StorageError } from '../contract.ts';
import type { OnEvent } from '../events/events.ts';
import { backoffMs, LONGEST_WAIT_MS } from './backoff.ts';
import { Breaker, type OutageCause, type Pass } from './breaker.ts';

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
/** The time of day moves by less than this without having been set. */
const PUT_BACK_MS = 1000;

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

/** What each step asks: Storage may be away while the database is there. */
const ASKS: Readonly<Record<JobKind, readonly Service[]>> = {
  reserve: ['database'],
  upload: ['storage'],
  record: ['database'],
  verify: ['storage', 'database'],
  fail: ['database'],
  delete: ['database', 'storage'],
};
const SERVICES = ['database', 'storage'] as const satisfies Service[];

/** What may pass, but is no outage, is tried so often: wrong bytes, a race, a mistake of ours. */
const MAX_ATTEMPTS = 5;

/** A part of the cloud that a job asks, and that it was let through to it. */
type Passed = readonly [Service, Pass];

/** Works off what is owed to the cloud, in the background, for as long as it is started. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stopping = new AbortController();
  readonly #breakers: Readonly<Record<Service, Breaker>>;
  readonly #running = new Map<Promise<void>, JobKind>();
  readonly #working = new Set<number>();
  /** Jobs that failed for the cloud's sake since that part of it last answered. */
  readonly #hurt = { database: new Set<number>(), storage: new Set<number>() };
  #timer: NodeJS.Timeout | null = null;
  #polledAt = Number.NEGATIVE_INFINITY;
  /** By how much the time of day is ahead of the clock that nobody sets. */
  #ahead: number;
  #turn: Promise<void> | null = null;
  #again = false;
  #idle: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
    const make = () => new Breaker(options.monotonic, options.random);
    this.#breakers = { database: make(), storage: make() };
    this.#ahead = options.now() - options.monotonic();
  }

  /** Why everything waits: the cloud is away, or refuses whoever asks; `null` while nothing does. */
  get paused(): OutageCause | null {
    return this.#breakers.database.cause ?? this.#breakers.storage.cause;
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
    const putBack = this.#ahead - (now() - monotonic());
    this.#ahead -= putBack;
    await catalog.write(() => {
      // Else what waits would wait for as long as the clock was put back.
      if (putBack > PUT_BACK_MS) jobs.moveDue(-putBack);
      jobs.freeLeases((id) => instance.isGone(id));
      jobs.freeOwn(instance.id, this.#working);
      jobs.clampDue(now() + LONGEST_WAIT_MS);
    });
    const refused = SERVICES.map((service) => this.#breakers[service]).filter(
      (breaker) => breaker.cause?.kind === 'refused',
    );
    if (refused.length === 0 || !(await refreshKey())) return;
    for (const breaker of refused) breaker.tryNow();
  }

  async #startDue(): Promise<void> {
    const { now } = this.#options;
    for (const kind of BATCHED) {
      const isDue = (this.#nextStart([kind]) ?? Number.POSITIVE_INFINITY) <= now();
      if (isDue && this.#mayStart(kind)) await this.#start([kind], BATCH_JOBS);
    }
    for (;;) {
      const open = SINGLE.filter((kind) => this.#mayStart(kind));
      if (open.length === 0 || !(await this.#start(open, 1))) return;
    }
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
    const allowed = ASKS[kind].every((service) => this.#breakers[service].allows());
    return !this.#stopping.signal.aborted && allowed && this.#hasRoom(kind);
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
    const passes = ASKS[first.kind].map(
      (service) => [service, this.#breakers[service].start()] as const,
    );
    const run = this.#run(claimed, passes)
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

  async #run(claimed: readonly Job[], passes: readonly Passed[]): Promise<void> {
    const { catalog, jobs, work, now } = this.#options;
    const results = await work(claimed).catch((reason: unknown) =>
      claimed.map(() => ({ status: 'rejected', reason }) as const),
    );
    const forgiven = this.#tellBreakers(passes, results, claimed);
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
      const waits = !(isOutage(error) && this.#breakers[error.service].isOpen);
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
  #tellBreakers(
    passes: readonly Passed[],
    results: readonly PromiseSettledResult<Next>[],
    claimed: readonly Job[],
  ): number[] {
    if (this.#stopping.signal.aborted) return [];
    const before = this.paused;
    const errors = results.map(failureOf);
    const forgiven = passes.flatMap(([service, pass]) =>
      this.#tellBreaker(service, pass, errors, claimed),
    );
    const { onEvent } = this.#options;
    const after = this.paused;
    if (before === null && after !== null) {
      onEvent({ kind: 'cloud_away', cause: after.kind, reason: after.reason });
    }
    if (before !== null && after === null) onEvent({ kind: 'cloud_back' });
    return forgiven;
  }

  #tellBreaker(
    service: Service,
    pass: Pass,
    errors: readonly unknown[],
    claimed: readonly Job[],
  ): number[] {
    const breaker = this.#breakers[service];
    const hurt = this.#hurt[service];
    const isAway = (error: unknown) => isOutage(error) && error.service === service;
    for (const [i, error] of errors.entries()) if (isAway(error)) hurt.add(claimed[i]!.id);
    const outage = errors.filter(isOutage).find((error) => error.service === service);
    const wasOpen = breaker.isOpen;
    if (outage !== undefined) {
      const cause = { kind: outage.outage!, reason: outage.message };
      breaker.failed(pass, cause, outage.retryAfterMs);
      return wasOpen || !breaker.isOpen ? [] : [...hurt];
    }
    const answered = (error: unknown) => error === null || isAnswer(error, service);
    if (!errors.some(answered)) {
      breaker.undecided(pass);
      return [];
    }
    breaker.succeeded();
    const forgiven = wasOpen ? [...hurt] : [];
    hurt.clear();
    return forgiven;
  }

  #schedule(): void {
    const { now } = this.#options;
    const waits = JOB_KINDS.flatMap((kind) => {
      const due = this.#hasRoom(kind) ? this.#nextStart([kind]) : null;
      const breakerMs = ASKS[kind].map((service) => this.#breakers[service].waitMs);
      // While one tries whether it is back, its end is waited for.
      if (due === null || breakerMs.includes(null)) return [];
      return Math.max(due - now(), ...breakerMs.map((ms) => ms ?? 0));
    });
    this.#scheduleIn(Math.min(POLL_MS, ...waits.map((ms) => Math.max(1, ms))));
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

/** Whether it is an answer of this part of the cloud, if not the one that was hoped for. */
function isAnswer(error: unknown, service: Service): boolean {
  return error instanceof CloudError && error.outage === null && error.service === service;
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
