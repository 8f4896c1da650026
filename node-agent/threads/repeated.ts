/** Work that is done again and again, a while after it last ended. Keeps no process alive. */
export class Repeated {
  readonly #work: () => Promise<unknown>;
  readonly #everyMs: number;
  readonly #onProblem: (error: unknown) => void;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #stopped = false;

  /** @param onProblem told of a run that failed, the next one is due all the same; never throws */
  constructor(work: () => Promise<unknown>, everyMs: number, onProblem: (error: unknown) => void) {
    this.#work = work;
    this.#everyMs = everyMs;
    this.#onProblem = onProblem;
  }

  /** Runs it now, and from then on. */
  start(): void {
    if (this.#stopped) return;
    this.#running = this.#work()
      .then(() => {})
      .catch((error: unknown) => {
        if (!this.#stopped) this.#onProblem(error);
      })
      .finally(() => this.#schedule());
  }

  /** Runs it after a while for the first time: whoever ends soon leaves it to others. */
  startLater(): void {
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => this.start(), this.#everyMs);
    this.#timer.unref();
  }
}
