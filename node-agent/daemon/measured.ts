/** How old a measurement may be, in milliseconds. */
const FRESH_MS = 300_000;

/**
 * What takes long to measure: who asks gets what was measured last, and has it measured anew where that is
 * old.
 */
export class Measured<T> {
  readonly #measure: () => Promise<T>;
  readonly #onProblem: (error: unknown) => void;
  #last: { value: T; at: number } | null = null;
  #running: Promise<void> | null = null;

  /** @param onProblem told of a measurement that failed; never throws */
  constructor(measure: () => Promise<T>, onProblem: (error: unknown) => void) {
    this.#measure = measure;
    this.#onProblem = onProblem;
  }

  /** The first one is waited for. `null` while it could not be measured. */
  async value(): Promise<T | null> {
    const isFresh = this.#last !== null && performance.now() - this.#last.at < FRESH_MS;
    if (!isFresh) this.#running ??= this.#run();
    if (this.#last === null) await this.#running;
    return this.#last?.value ?? null;
  }

  async #run(): Promise<void> {
    try {
      this.#last = { value: await this.#measure(), at: performance.now() };
    } catch (error) {
      this.#onProblem(error);
    } finally {
      this.#running = null;
    }
  }
}
