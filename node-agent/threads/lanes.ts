/** Has so many done at once, and no more. */
export class Lanes {
  readonly #count: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | null = null;

  constructor(count: number) {
    this.#count = count;
  }

  /** Begins once a lane is free. @throws what one of those before failed with, once the others are done */
  async run(work: () => Promise<void>): Promise<void> {
    const running = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    if (this.#running.size >= this.#count) await Promise.race(this.#running);
    if (this.#failure !== null) await this.idle();
  }

  /** Waits for those that are under way, whatever they come to. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** The same. @throws what one of them failed with */
  async idle(): Promise<void> {
    await this.settled();
    if (this.#failure !== null) throw this.#failure.error;
  }
}
