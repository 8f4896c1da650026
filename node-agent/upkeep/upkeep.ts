import type { Catalog } from '../catalog/catalog.ts';
import { contentName, type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Store } from '../store/store.ts';
import { noteArchive } from './archive-of.ts';
import type { Locks } from './locks.ts';
import type { Scan } from './scan.ts';

type Parts = Readonly<{
  store: Store;
  scan: Scan;
  locks: Locks;
  catalog: Catalog;
  /** Never throws. */
  onProblem: (error: unknown) => void;
}>;

/** Rows that are looked at at once. */
const PAGE = 100;

/**
 * What is done for generations after the answer. First archives are made of what saves laid down; then
 * trees are fsynced, one after another: each
 * takes as many fsyncs as it has files. Then archives are removed whose bytes are proven to be in
 * the cloud.
 */
export class Upkeep {
  readonly #parts: Parts;
  /** What failed is left to the next start: it must not keep the rest waiting. */
  readonly #failed = new Set<string>();
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
      .catch((error: unknown) => this.#parts.onProblem(error))
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
    const { store, scan, catalog } = this.#parts;
    while (this.#again) {
      this.#again = false;
      await this.#each(
        (skip) => catalog.generations.waiting('unsettled', PAGE, skip),
        async (row) => {
          await scan.project(row.project_id);
          await noteArchive(this.#parts, refOf(row));
        },
      );
      if (!this.#again) this.#tellSettled();
      await this.#each(
        (skip) => catalog.generations.waiting('unsynced', PAGE, skip),
        async (row) => {
          const ref = refOf(row);
          // What a power loss left of it must not be taken for what was saved.
          await scan.project(ref.projectId);
          if (store.has(ref)) await store.trees.sync(ref);
          await catalog.write(() =>
            catalog.generations.update(ref, { tree_synced: 1 }, row.digest),
          );
        },
      );
      await this.#each(
        (skip) => catalog.generations.waiting('retirable', PAGE, skip),
        (row) => this.#retire(row),
      );
    }
  }

  async #each(
    next: (skip: ReadonlySet<string>) => GenerationRow[],
    work: (row: GenerationRow) => Promise<void>,
  ): Promise<void> {
    for (let rows = next(this.#failed); rows.length > 0; rows = next(this.#failed)) {
      for (const row of rows) {
        if (this.#stopped) return;
        try {
          await work(row);
        } catch (error) {
          if (this.#stopped) return;
          this.#failed.add(contentName(row));
          // Another process deleted it just now, or takes it out of the store.
          if (this.#parts.store.has(refOf(row))) this.#parts.onProblem(error);
        }
        // What was saved meanwhile is settled before the next.
        if (this.#again) return;
      }
    }
  }

  /** In one transaction: nobody comes between, of this process or another. */
  async #retire(seen: GenerationRow): Promise<void> {
    const { store, catalog } = this.#parts;
    const ref = refOf(seen);
    await catalog.write(() => {
      const row = catalog.generations.find(ref.projectId, ref.version);
      if (row?.status !== 'verified' || row.digest !== seen.digest) return;
      // Somebody works on it.
      if (row.instance_id !== null) {
        this.#failed.add(contentName(seen));
        return;
      }
      store.archives.retire(ref);
      catalog.generations.update(ref, { archive_kept: 0 });
    });
  }
}
