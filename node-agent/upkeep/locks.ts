import { setTimeout as sleep } from 'node:timers/promises';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { lock, unlock } from '../catalog/saving.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import { type Parts, recover, settleSave } from './recover.ts';

/** How long a generation is waited for that somebody else works on, in milliseconds. */
const WAIT_MS = 30_000;
const POLL_MS = 20;

/**
 * Who works on which generation: one at a time, whichever process it is in. The catalog has the
 * instance, this the work of this process: what is noted for it there and not worked on here any
 * more was left by an error, and is settled like that of an instance that is gone.
 */
export class Locks {
  readonly #parts: Omit<Parts, 'onProblem'>;
  readonly #working = new Map<string, symbol>();

  constructor(parts: Omit<Parts, 'onProblem'>) {
    this.#parts = parts;
  }

  /** Notes work of this process on a generation that the catalog gave it. Returns how to end it. */
  begin(ref: Ref): () => void {
    const name = formatRef(ref);
    const mark = Symbol(name);
    this.#working.set(name, mark);
    return () => {
      // The next one to work on it may have begun already.
      if (this.#working.get(name) === mark) this.#working.delete(name);
    };
  }

  /**
   * Waits for a stored generation and locks it.
   *
   * @returns how to give it back; `null` where it is not stored any more
   * @throws StorageError `unavailable` where somebody else works on it for too long
   */
  async lock(ref: Ref): Promise<(() => Promise<void>) | null> {
    const { catalog } = this.#parts;
    const wait = this.waiter('change');
    for (;;) {
      const row = catalog.generations.find(ref.projectId, ref.version);
      if (row?.state !== 'stored' || row.generation_id !== ref.generationId) return null;
      const giveBack = await this.#tryLock(ref, 'stored');
      if (giveBack !== null) return giveBack;
      await wait(row);
    }
  }

  /**
   * Locks a deleted generation, that it may be undeleted.
   *
   * @returns how to give it back; `null` where it is not deleted, or somebody else works on it
   */
  lockDeleted(ref: Ref): Promise<(() => Promise<void>) | null> {
    return this.#tryLock(ref, 'deleted');
  }

  async #tryLock(ref: Ref, state: 'stored' | 'deleted'): Promise<(() => Promise<void>) | null> {
    const { catalog, instance } = this.#parts;
    const end = await catalog.write(() =>
      // In the same breath: what is noted and not worked on is cleared away.
      lock(catalog, ref, instance.id, state) ? this.begin(ref) : null,
    );
    if (end === null) return null;
    return async () => {
      end();
      await catalog.write(() => unlock(catalog, ref));
    };
  }

  /**
   * Makes what waits for others: each call settles what nobody works on any more, and pauses.
   *
   * @param doing completes "Cannot …"
   */
  waiter(doing: string): (row: GenerationRow) => Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    return async (row) => {
      await this.#settle(row);
      if (performance.now() > deadline) {
        throw new StorageError(
          'unavailable',
          `Cannot ${doing} ${formatRef(refOf(row))}: other work on it is under way`,
        );
      }
      await sleep(POLL_MS);
    };
  }

  /** Clears away work that nobody does any more. */
  async #settle(row: GenerationRow): Promise<void> {
    const { catalog, instance } = this.#parts;
    const ref = refOf(row);
    const mine = row.instance_id === instance.id;
    if (mine && this.#working.has(formatRef(ref))) return;
    if (!mine && row.instance_id !== null && !instance.isGone(row.instance_id)) return;
    const parts = {
      ...this.#parts,
      onProblem: (error: unknown) => {
        throw error;
      },
    };
    if (row.state === 'saving') await settleSave(parts, ref);
    else if (mine) await catalog.write(() => unlock(catalog, ref));
    else await recover(parts);
  }
}
