type Asked<I, O> = Readonly<{
  input: I;
  resolve: (value: O) => void;
  reject: (error: unknown) => void;
}>;

/** Has what is asked for at the same time done in one go: some costs come once for all of it. */
export class Grouped<I, O> {
  readonly #work: (inputs: readonly I[]) => Promise<readonly PromiseSettledResult<O>[]>;
  readonly #atOnce: number;
  readonly #most: number;
  readonly #waiting: Asked<I, O>[] = [];
  #running = 0;

  /**
   * @param work returns what came of each, in their order
   * @param limits.atOnce so many groups are worked on at a time; what comes meanwhile waits for the next
   * @param limits.most so many are in a group
   */
  constructor(
    work: (inputs: readonly I[]) => Promise<readonly PromiseSettledResult<O>[]>,
    limits: Readonly<{ atOnce: number; most: number }>,
  ) {
    this.#work = work;
    this.#atOnce = limits.atOnce;
    this.#most = limits.most;
  }

  /** @throws what came of this one; what the work throws, as all of its group do */
  run(input: I): Promise<O> {
    const { promise, resolve, reject } = Promise.withResolvers<O>();
    this.#waiting.push({ input, resolve, reject });
    // Not at once: others may ask for the same for the same reason.
    if (this.#waiting.length === 1) setImmediate(() => this.#begin());
    return promise;
  }

  #begin(): void {
    while (this.#running < this.#atOnce && this.#waiting.length > 0) {
      void this.#do(this.#waiting.splice(0, this.#most));
    }
  }

  async #do(group: readonly Asked<I, O>[]): Promise<void> {
    this.#running++;
    try {
      const outcomes = await this.#work(group.map(({ input }) => input));
      for (const [index, { resolve, reject }] of group.entries()) {
        const outcome = outcomes[index]!;
        if (outcome.status === 'fulfilled') resolve(outcome.value);
        else reject(outcome.reason);
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    } finally {
      this.#running--;
      this.#begin();
    }
  }
}
