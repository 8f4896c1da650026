/** Work that is done once at a time for everybody who wants the same. */
export class SharedRuns<T> {
  readonly #running = new Map<string, Promise<T>>();

  /** @param name of what is wanted: whoever asks while it is made gets what comes of that */
  run(name: string, work: () => Promise<T>): Promise<T> {
    let running = this.#running.get(name);
    if (running === undefined) {
      running = work().finally(() => this.#running.delete(name));
      this.#running.set(name, running);
    }
    return running;
  }

  /** What is under way. */
  pending(): Promise<T>[] {
    return [...this.#running.values()];
  }
}
