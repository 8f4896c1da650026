import { makeThreads, type Threads } from '../threads/pool.ts';

/** Commits after which the log is copied: it has some megabytes then. */
const EVERY = 200;

/**
 * Has the log of the catalog copied into its file now and then, in another thread. SQLite would do it within
 * a commit, and the event loop would wait for the disk.
 */
export class Checkpoints {
  readonly #path: string;
  readonly #onFailure: () => void;
  #pool: Threads | null = null;
  #commits = 0;
  #isRunning = false;

  /** @param onFailure told where the thread could not do it */
  constructor(path: string, onFailure: () => void) {
    this.#path = path;
    this.#onFailure = onFailure;
  }

  /** To be called after each commit. */
  count(): void {
    this.#commits++;
    if (this.#commits < EVERY || this.#isRunning) return;
    this.#commits = 0;
    this.#isRunning = true;
    void this.#run();
  }

  close(): void {
    void this.#pool?.close();
  }

  async #run(): Promise<void> {
    try {
      this.#pool ??= makeThreads('checkpoint-worker', import.meta.url, { maxThreads: 1 });
      await this.#pool.run(this.#path, { name: 'checkpoint' });
    } catch {
      this.#onFailure();
    } finally {
      this.#isRunning = false;
    }
  }
}
