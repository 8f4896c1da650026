import type { Catalog } from '../catalog/catalog.ts';
import { refOf } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import { type Job, STEPS, type Step } from '../catalog/jobs.ts';
import { isOutage } from '../cloud/outage.ts';
import { StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { OutageCause } from './breaker.ts';
import type { StepResult } from './life.ts';
import { Outages, type Passed } from './outages.ts';
import { LONGEST_WAIT_MS } from './retries.ts';
import { outcomeOf, type Parked, type Settled, settle } from './settle.ts';

/**
 * Does one step of some jobs, all of one step, and says of each what comes next, or why it failed.
 * More than one are given only of the steps in {@link BATCHED}.
 */
export type Work = (jobs: readonly Job[]) => Promise<PromiseSettledResult<StepResult>[]>;

export type OutboxOptions = {
  catalog: Catalog;
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
  onEvent: Tell;
};

/** How often other processes' jobs and leases are looked for. */
const POLL_MS = 2000;
/** The time of day moves by less than this without having been set. */
const PUT_BACK_MS = 1000;

/**
 * Steps that take one request for many: one such request of each step at a time, and what becomes
 * due meanwhile goes with the next.
 */
const BATCHED: readonly Step[] = ['reserve', 'record'];
const BATCH_JOBS = 32;
/**
 * How long what is uploaded waits to be recorded, in milliseconds, while there are uploads under way
 * that it could be recorded with.
 */
const GATHER_MS = 100;
const SINGLE = STEPS.filter((step) => !BATCHED.includes(step));

/** Works off what is owed to the cloud, in the background, for as long as it is started. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stopping = new AbortController();
  readonly #outages: Outages;
  readonly #running = new Map<Promise<void>, Step>();
  readonly #working = new Set<number>();
  #timer: NodeJS.Timeout | null = null;
  #polledAt = Number.NEGATIVE_INFINITY;
  /** By how much the time of day is ahead of the clock that nobody sets. */
  #ahead: number;
  #turn: Promise<void> | null = null;
  #again = false;
  /** Why everything waits, as this process wrote it down last. */
  #noted: string | null = null;
  #idle: (() => void)[] = [];

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#outages = new Outages(options.monotonic, options.random, options.onEvent);
    this.#ahead = options.now() - options.monotonic();
  }

  /** Why everything waits: the cloud is away, or refuses whoever asks; `null` while nothing does. */
  get paused(): OutageCause | null {
    return this.#outages.cause;
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
    const { catalog, instance, now, monotonic, refreshKey } = this.#options;
    if (monotonic() - this.#polledAt < POLL_MS) return;
    this.#polledAt = monotonic();
    const putBack = this.#ahead - (now() - monotonic());
    this.#ahead -= putBack;
    const ended = new Map<string, boolean>();
    const isGone = (id: string): boolean => {
      const known = ended.get(id) ?? instance.isGone(id);
      ended.set(id, known);
      return known;
    };
    await catalog.write(() => {
      // Else what waits would wait for as long as the clock was put back.
      const moved = putBack > PUT_BACK_MS ? -putBack : 0;
      catalog.jobs.adjustDue(moved, now() + LONGEST_WAIT_MS);
      // Those of processes that ended, and our own whose end could not be written down.
      catalog.jobs.free(({ id, leased_by: by }) =>
        by === instance.id ? !this.#working.has(id) : isGone(by),
      );
    });
    if (this.#outages.isRefused && (await refreshKey())) this.#outages.tryRefused();
  }

  async #startDue(): Promise<void> {
    const { now } = this.#options;
    for (const step of BATCHED) {
      const isDue = (this.#nextStart([step]) ?? Number.POSITIVE_INFINITY) <= now();
      if (isDue && this.#mayStart(step)) await this.#start([step], BATCH_JOBS);
    }
    for (;;) {
      const open = SINGLE.filter((step) => this.#mayStart(step));
      if (open.length === 0 || !(await this.#start(open, 1))) return;
    }
  }

  /** Whether there is room for another job of this step. */
  #hasRoom(step: Step): boolean {
    const running = [...this.#running.values()];
    if (BATCHED.includes(step)) return !running.includes(step);
    return running.filter((other) => SINGLE.includes(other)).length < this.#options.concurrency;
  }

  /** When a job of these steps is to start; `null` where none waits. */
  #nextStart(steps: readonly Step[]): number | null {
    const isUploading = [...this.#running.values()].includes('upload');
    const starts = steps.flatMap((step) => {
      const due = this.#options.catalog.jobs.nextDue(step);
      if (due === null) return [];
      return step === 'record' && isUploading ? due + GATHER_MS : due;
    });
    return starts.length === 0 ? null : Math.min(...starts);
  }

  #mayStart(step: Step): boolean {
    return !this.#stopping.signal.aborted && this.#outages.allows(step) && this.#hasRoom(step);
  }

  /** @returns whether there was anything to start */
  async #start(steps: readonly Step[], limit: number): Promise<boolean> {
    const { catalog, instance, now, onProblem } = this.#options;
    if ((this.#nextStart(steps) ?? Number.POSITIVE_INFINITY) > now()) return false;
    const claimed = await catalog.write(() => {
      const some = catalog.jobs.claim(steps, limit, instance.id, now());
      // In the same breath: what is claimed and not worked on is given back.
      for (const { id } of some) this.#working.add(id);
      return some;
    });
    const [first] = claimed;
    if (first === undefined) return false;
    const passes = this.#outages.start(first.step);
    const run = this.#run(claimed, passes)
      .catch(onProblem)
      .finally(() => {
        for (const { id } of claimed) this.#working.delete(id);
        this.#running.delete(run);
        this.wake();
      });
    this.#running.set(run, first.step);
    return true;
  }

  /**
   * Waits until nothing is left that could be done now: all done, parked, or waiting for a retry.
   *
   * @param timeoutMs the longest wait
   */
  async drain(timeoutMs: number): Promise<void> {
    if (this.#stopping.signal.aborted) return;
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
    const { catalog, work, now, random } = this.#options;
    const results = await work(claimed).catch((reason: unknown) =>
      claimed.map(() => ({ status: 'rejected', reason }) as const),
    );
    const settled = results.map((result, i) => outcomeOf(claimed[i]!, result));
    const errors = settled.map(({ because }) => because);
    const isStopping = this.#stopping.signal.aborted;
    const forgiven = isStopping ? [] : this.#outages.tell(passes, errors, claimed);
    await catalog.write(() => {
      for (const [i, end] of settled.entries()) {
        const job = claimed[i]!;
        // What failed because this ends says nothing of the job.
        if (isStopping && end.because !== null) {
          catalog.jobs.release(job);
          continue;
        }
        // While everything waits, no job waits for itself as well.
        const waits = !(isOutage(end.because) && this.#outages.isOpen(end.because.service));
        const parked = settle(catalog, job, end, { now: now(), random: random(), waits });
        if (parked !== null) this.#tellParked(job, parked);
      }
      catalog.jobs.forgive(forgiven, now());
      if (!isStopping) this.#noteCloud();
    });
    if (!isStopping) this.#tell(claimed, settled);
  }

  /** For commands that ask nothing of the cloud, and say how it is. */
  #noteCloud(): void {
    const { catalog, now } = this.#options;
    const cause = this.#outages.cause;
    const reason = cause?.reason ?? null;
    // Another process may have noted what this one never saw.
    if (cause === null ? catalog.meta.cloudAway === null : reason === this.#noted) return;
    const since = new Date(now()).toISOString();
    catalog.meta.setCloudAway(cause && { since, cause: cause.kind, reason: cause.reason });
    this.#noted = reason;
  }

  /** In the transaction that notes it: whoever hears of it may have it tried again at once. */
  #tellParked({ project_id: projectId, version }: Job, parked: Parked): void {
    const { catalog, onEvent } = this.#options;
    const row = catalog.generations.find(projectId, version);
    if (row !== null) onEvent({ kind: 'generation.failed', ...refOf(row), ...parked });
  }

  /** Tells of what failed, once it is written down. */
  #tell(claimed: readonly Job[], settled: readonly Settled[]): void {
    const { onProblem, onEvent } = this.#options;
    for (const [i, { outcome, because }] of settled.entries()) {
      if (because === null) continue;
      onProblem(because);
      const { project_id: projectId, version, step } = claimed[i]!;
      const code = because instanceof StorageError ? because.code : 'internal';
      const givenUp = outcome === 'refused';
      onEvent({ kind: 'attempt.failed', projectId, version, step, code, givenUp });
    }
  }

  #schedule(): void {
    const { now } = this.#options;
    const waits = STEPS.flatMap((step) => {
      const due = this.#hasRoom(step) ? this.#nextStart([step]) : null;
      const waitMs = this.#outages.waitMs(step);
      // While one tries whether it is back, its end is waited for.
      return due === null || waitMs === null ? [] : [Math.max(due - now(), waitMs)];
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
