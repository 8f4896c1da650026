import { type Ref, StorageError } from '../contract.ts';

/** Why one could not be had. */
type Problem = Readonly<Ref & { reason: string }>;

/** What a restore came to. */
export type RestoreReport = Readonly<{
  /** Generations that are to be here in the end. */
  found: number;
  /** Those that came from the cloud now, or would, and the bytes of their archives. */
  restored: number;
  bytes: number;
  /** Those that were here already. */
  there: number;
  /** Deletions that are known here now. */
  deleted: number;
  failed: number;
  /** A thousand of them at most. */
  problems: readonly Problem[];
  /** Whether it was stopped before the end. */
  stopped: boolean;
}>;

/** Problems that a report names; the rest is counted. */
const MAX_PROBLEMS = 1000;

/** Counts what a restore does. */
export class RestoreCounts {
  #found = 0;
  #restored = 0;
  #bytes = 0;
  #there = 0;
  #deleted = 0;
  #failed = 0;
  readonly #problems: Problem[] = [];

  found(): void {
    this.#found++;
  }

  /** It was deleted since. */
  unfound(): void {
    this.#found--;
  }

  restored(bytes: number): void {
    this.#restored++;
    this.#bytes += bytes;
  }

  there(): void {
    this.#there++;
  }

  deleted(): void {
    this.#deleted++;
  }

  /** Of what was found. */
  get done(): number {
    return this.#restored + this.#there + this.#failed;
  }

  fail(ref: Ref, reason: string): void {
    this.#failed++;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ ...ref, reason });
  }

  report(stopped: boolean): RestoreReport {
    return {
      found: this.#found,
      restored: this.#restored,
      bytes: this.#bytes,
      there: this.#there,
      deleted: this.#deleted,
      failed: this.#failed,
      problems: this.#problems,
      stopped,
    };
  }
}

/** What is wrong with one generation alone: it keeps no other from being restored. */
const OF_ONE: ReadonlySet<string> = new Set([
  'conflict',
  'corrupt',
  'invalid_input',
  'not_found',
  'too_large',
]);

/** Why one cannot be had. @throws what keeps the others from being had too */
export function reasonOf(error: unknown): string {
  if (!(error instanceof StorageError)) throw error;
  const isOfOne = error.code === 'unavailable' ? !error.retryable : OF_ONE.has(error.code);
  if (!isOfOne) throw error;
  return error.message;
}
