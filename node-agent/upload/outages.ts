import type { Job, Step } from '../catalog/jobs.ts';
import { CloudError, isOutage, type Service } from '../cloud/outage.ts';
import type { Tell } from '../events/events.ts';
import { Breaker, type OutageCause, type Pass } from './breaker.ts';

/** What each step asks: Storage may be away while the database is there. */
const ASKS: Readonly<Record<Step, readonly Service[]>> = {
  reserve: ['database'],
  upload: ['storage'],
  record: ['database'],
  verify: ['storage', 'database'],
  fail: ['database'],
  delete: ['database', 'storage'],
  undelete: ['database'],
};
const SERVICES = ['database', 'storage'] as const satisfies Service[];

/** A part of the cloud that a job asks, and that it was let through to it. */
export type Passed = readonly [Service, Pass];

/** Whether the parts of the cloud are there: what every job learns, every job goes by. */
export class Outages {
  readonly #breakers: Readonly<Record<Service, Breaker>>;
  /** Jobs that failed for the cloud's sake since that part of it last answered. */
  readonly #hurt = { database: new Set<number>(), storage: new Set<number>() };
  readonly #onEvent: Tell;

  /** @param monotonic milliseconds of a clock that nobody sets */
  constructor(monotonic: () => number, random: () => number, onEvent: Tell) {
    const make = () => new Breaker(monotonic, random);
    this.#breakers = { database: make(), storage: make() };
    this.#onEvent = onEvent;
  }

  /** Why everything waits: the cloud is away, or refuses whoever asks; `null` while nothing does. */
  get cause(): OutageCause | null {
    return this.#breakers.database.cause ?? this.#breakers.storage.cause;
  }

  /** Whether the key or the plan is refused: that takes a person. */
  get isRefused(): boolean {
    return SERVICES.some((service) => this.#breakers[service].cause?.kind === 'refused');
  }

  isOpen(service: Service): boolean {
    return this.#breakers[service].isOpen;
  }

  allows(step: Step): boolean {
    return ASKS[step].every((service) => this.#breakers[service].allows());
  }

  /** Lets a job through that is allowed. */
  start(step: Step): Passed[] {
    return ASKS[step].map((service) => [service, this.#breakers[service].start()] as const);
  }

  /** How long until a step may try, in milliseconds; `null` while one tries whether it is back. */
  waitMs(step: Step): number | null {
    const waits = ASKS[step].map((service) => this.#breakers[service].waitMs);
    return waits.includes(null) ? null : Math.max(...waits.map((ms) => ms ?? 0));
  }

  /** Lets what is refused try now: there is another key. */
  tryRefused(): void {
    for (const service of SERVICES) {
      const breaker = this.#breakers[service];
      if (breaker.cause?.kind === 'refused') breaker.tryNow();
    }
  }

  /**
   * Learns from what became of some jobs. What went together counts as one. A refusal for good is an
   * answer: the cloud is there.
   *
   * @param errors why each of them failed; `null` where it did not
   * @returns the jobs that are to be tried at once: they failed for the cloud's sake
   */
  tell(passes: readonly Passed[], errors: readonly unknown[], claimed: readonly Job[]): number[] {
    const before = this.cause;
    const forgiven = passes.flatMap(([service, pass]) =>
      this.#tellBreaker(service, pass, errors, claimed),
    );
    const after = this.cause;
    if (before === null && after !== null) {
      this.#onEvent({ kind: 'cloud.away', cause: after.kind, reason: after.reason });
    }
    if (before !== null && after === null) this.#onEvent({ kind: 'cloud.back' });
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
}

/** Whether it is an answer of this part of the cloud, if not the one that was hoped for. */
function isAnswer(error: unknown, service: Service): boolean {
  return error instanceof CloudError && error.outage === null && error.service === service;
}
