import { backoffMs } from './backoff.ts';
import { AWAY_WAIT_MS, OUTAGE_AFTER, REFUSED_WAIT_MS } from './retries.ts';

/** Why everything waits. */
export type OutageCause = Readonly<{ kind: 'away' | 'refused'; reason: string }>;

/** A job that was let through; where the breaker was open it is the one that tells whether to close. */
export type Pass = Readonly<{ isProbe: boolean }>;

/**
 * Pauses everything while the cloud is away, and lets one job at a time try: its success opens the
 * way for all. It counts outages, not jobs: what fails together, or was under way when it opened,
 * is one failure.
 */
export class Breaker {
  readonly #now: () => number;
  readonly #random: () => number;
  #failures = 0;
  /** Looks that failed since it opened. */
  #probes = 0;
  #openUntil = 0;
  #probing: Pass | null = null;
  #cause: OutageCause | null = null;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(now: () => number, random: () => number) {
    this.#now = now;
    this.#random = random;
  }

  /** Why everything waits; `null` while nothing does. */
  get cause(): OutageCause | null {
    return this.#cause;
  }

  get isOpen(): boolean {
    return this.#cause !== null;
  }

  /** Whether a job may start now. */
  allows(): boolean {
    if (!this.isOpen) return true;
    return this.#probing === null && this.#now() >= this.#openUntil;
  }

  /** To be called when a job that was allowed starts; what it gives is told with the outcome. */
  start(): Pass {
    const pass = { isProbe: this.isOpen };
    if (pass.isProbe) this.#probing = pass;
    return pass;
  }

  /** How long until a job may try, in milliseconds; 0 where one may now, `null` while one does. */
  get waitMs(): number | null {
    if (!this.isOpen) return 0;
    return this.#probing === null ? Math.max(0, this.#openUntil - this.#now()) : null;
  }

  /** Notes an answer of the cloud. */
  succeeded(): void {
    this.#failures = 0;
    this.#probes = 0;
    this.#probing = null;
    this.#cause = null;
  }

  /** Notes that the cloud did not answer, or refused whoever asks. */
  failed(pass: Pass, cause: OutageCause, retryAfterMs: number | null): void {
    const isProbe = this.#probing === pass;
    if (isProbe) {
      this.#probing = null;
      this.#probes++;
    } else {
      // It was under way when the outage was noticed: the same one.
      if (this.isOpen) return;
      this.#failures++;
      if (cause.kind === 'away' && this.#failures < OUTAGE_AFTER) return;
    }
    this.#cause = cause;
    const cap = cause.kind === 'away' ? AWAY_WAIT_MS : REFUSED_WAIT_MS;
    this.#openUntil = this.#now() + backoffMs(this.#probes, this.#random(), retryAfterMs, cap);
  }

  /** Notes that a job ended without telling anything of the cloud. */
  undecided(pass: Pass): void {
    if (this.#probing === pass) this.#probing = null;
  }

  /** Lets a job try now: something has changed. */
  tryNow(): void {
    this.#openUntil = this.#now();
  }
}
