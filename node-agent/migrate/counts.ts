import { StorageError } from '../contract.ts';

/** Problems that a report names; the rest is counted. */
const MAX_PROBLEMS = 1000;

/** How many were found and failed, and why. */
export class Counts {
  #found = 0;
  #failed = 0;
  readonly #problems: { path: string; reason: string }[] = [];
  readonly #failedPaths = new Set<string>();

  found(): void {
    this.#found++;
  }

  /** One that fails keeps no other from being migrated. */
  async attempt(path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.fail(path, error.message);
    }
  }

  hasFailed(path: string): boolean {
    return this.#failedPaths.has(path);
  }

  report() {
    return { found: this.#found, failed: this.#failed, problems: this.#problems };
  }

  fail(path: string, reason: string): void {
    this.#failed++;
    this.#failedPaths.add(path);
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ path, reason });
  }
}
