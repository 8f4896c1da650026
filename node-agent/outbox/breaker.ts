import { backoffMs } from './backoff.ts';

/** So many failures in a row, of whatever job, mean that the cloud is away. */
const THRESHOLD = 3;

/**
 * Pauses everything while the cloud is away, and then lets one job try: its success opens the way
 * for all, its failure pauses for longer.
 */
export class Breaker {
  readonly #now: () => number;
  readonly #random: () => number;
  #failures = 0;
  #openUntil = 0;
  #probing = false;

  constructor(now: () => number, random: () => number) {
    this.#now = now;
    this.#random = random;
  }

  get isOpen(): boolean {
    return this.#failures >= THRESHOLD;
  }

  /** Whether the one job is under way that tells whether the cloud is back. */
  get isProbing(): boolean {
    return this.#probing;
  }

  /** Whether a job may start now. One that may while the breaker is open is the probe. */
  allows(): boolean {
    if (!this.isOpen) return true;
    return !this.#probing && this.#now() >= this.#openUntil;
  }

  /** To be called when a job that was allowed has started. */
  started(): void {
    if (this.isOpen) this.#probing = true;
  }

  /** When a probe may go; `null` while none is waited for. */
  get nextProbeAt(): number | null {
    return this.isOpen && !this.#probing ? this.#openUntil : null;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#probing = false;
  }

  /** @param retryAfterMs what the cloud asked for */
  failed(retryAfterMs: number | null): void {
    this.#failures++;
    this.#probing = false;
    if (!this.isOpen) return;
    this.#openUntil =
      this.#now() + backoffMs(this.#failures - THRESHOLD, this.#random(), retryAfterMs);
  }

  /** A probe that ended without telling anything of the cloud. */
  undecided(): void {
    this.#probing = false;
  }
}
