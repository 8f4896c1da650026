import { join } from 'node:path';
import { StorageError } from '../contract.ts';
import type { LeftOut, LeftOutReason } from '../store/left-out.ts';

/** What is said of what was left out. */
const LEFT_OUT: Readonly<Record<LeftOutReason, string>> = {
  excluded: 'it was left out: a save leaves it out too',
  own: "it was left out: it is the agent's own",
  reserved: 'it was left out: an archive keeps what it says of itself there',
  link: 'it was left out: it is a symbolic link',
  special: 'it was left out: it is no regular file',
  unnamed: 'it was left out: its name is not UTF-8',
};

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
    this.#tell(path, reason);
  }

  /** Tells of what is not part of a generation that was migrated. */
  leaveOut(path: string, { count, items }: LeftOut): void {
    for (const item of items) this.#tell(join(path, item.path), LEFT_OUT[item.reason]);
    if (count > items.length) this.#tell(path, `${count - items.length} more were left out`);
  }

  #tell(path: string, reason: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ path, reason });
  }
}
