import type { Catalog } from '../catalog/catalog.ts';
import { contentName, type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { isDiskFull } from '../disk/file-errors.ts';
import type { Reserve } from '../disk/reserve.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { noteArchive } from './archive-of.ts';
import type { Locks } from './locks.ts';
import type { Scan } from './scan.ts';

type Parts = Readonly<{
  reserve: Reserve;
  store: Store;
  scan: Scan;
  locks: Locks;
  onEvent: Tell;
  catalog: Catalog;
  /** Never throws. */
  onProblem: (error: unknown) => void;
}>;

/** Rows that are looked at at once. */
const PAGE = 100;

/** What is done for generations after the answer: archives are made of what saves laid down. */
export class Upkeep {
  readonly #parts: Parts;
  /** What failed is left to the next start: it must not keep the rest waiting. */
  readonly #failed = new Set<string>();
  /** For what the room was given back that is kept for a full disk. */
  readonly #relieved = new Set<string>();
  /** Whether there was no room just now: it is not to be taken again. */
  #isFull = false;
  readonly #waiting: (() => void)[] = [];
  #running: Promise<void> | null = null;
  #again = false;
  #stopped = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Looks for work now. */
  wake(): void {
    this.#again = true;
    if (this.#stopped || this.#running !== null) return;
    this.#running = this.#run()
      .catch((error: unknown) => {
        // That it ends is no problem.
        if (!this.#stopped) this.#parts.onProblem(error);
      })
      .finally(() => {
        this.#running = null;
        if (!this.#again) this.#tellSettled();
        // Woken after the last look, before this.
        if (this.#again) this.wake();
      });
  }

  /**
   * Waits until each save has its archive.
   *
   * @param timeoutMs the longest wait
   */
  async settled(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    this.wake();
    const timer = setTimeout(resolve, timeoutMs);
    await promise;
    clearTimeout(timer);
  }

  #tellSettled(): void {
    for (const tell of this.#waiting.splice(0)) tell();
  }

  /** Ends after the generation that is worked on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.#tellSettled();
  }

  async #run(): Promise<void> {
    const { scan, catalog } = this.#parts;
    while (this.#again && !this.#stopped) {
      this.#again = false;
      const next = () => catalog.generations.unsettled(PAGE, this.#failed);
      for (let rows = next(); rows.length > 0; rows = next()) {
        for (const row of rows) {
          if (this.#stopped) return;
          await scan.project(row.project_id);
          await this.#settle(row);
        }
        if (!this.#isFull) await this.#keepReserve();
        this.#isFull = false;
      }
    }
  }

  /** Without it all goes on: there is less room for the next full disk. */
  async #keepReserve(): Promise<void> {
    const { reserve, store } = this.#parts;
    await reserve.restore(store.staging.path()).catch(() => {});
  }

  async #settle(row: GenerationRow): Promise<void> {
    try {
      await noteArchive(this.#parts, refOf(row));
    } catch (error) {
      if (this.#stopped) return;
      const isFull = isDiskFull(error);
      this.#isFull ||= isFull;
      // Once there is room it takes less than it did: it is tried once more.
      const name = contentName(row);
      if (isFull && !this.#relieved.has(name) && this.#parts.reserve.release()) {
        this.#relieved.add(name);
        return;
      }
      this.#failed.add(name);
      // Another process deleted it just now, or takes it out of the store.
      if (this.#parts.store.has(refOf(row))) this.#parts.onProblem(error);
    }
  }
}
