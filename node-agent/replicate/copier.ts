import { isOutage } from '../cloud/outage.ts';
import { StorageError } from '../contract.ts';
import { connectReplica, type Reach } from '../replicas/connect-replica.ts';
import type { Replica } from '../replicas/replica.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';
import { Breaker, type OutageCause } from '../upload/breaker.ts';
import { type Parts as WorkParts, workOff, writeFiles } from './work.ts';

/** How often it is looked what is owed: what other hosts left, and what is to go. */
const POLL_MS = 30_000;
/** What is verified one after another goes together. */
const GATHER_MS = 200;

export type Parts = Omit<WorkParts, 'signal'> &
  Readonly<{
    hostId: () => string;
    monotonic: () => number;
    reach: Reach;
  }>;

/**
 * Fills one replica in the background. It has a breaker of its own: a replica that is away holds up nothing else, and
 * a cloud that is away holds up this, for it says what is owed.
 */
export class Copier {
  readonly replica: Replica;
  readonly #parts: Parts;
  readonly #stopping = new AbortController();
  readonly #breaker: Breaker;
  #objects: ReplicaObjects | null = null;
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> | null = null;
  #again = false;
  #isTold = false;

  constructor(parts: Parts, replica: Replica) {
    this.#parts = parts;
    this.replica = replica;
    this.#breaker = new Breaker(parts.monotonic, parts.random);
  }

  /** Why nothing is copied; `null` while it is. */
  get cause(): OutageCause | null {
    return this.#breaker.cause;
  }

  /** Looks for work soon. */
  wake(): void {
    this.#again = true;
    if (this.#turn === null) this.#schedule(GATHER_MS);
  }

  /** What is under way is given up, and is owed still. */
  async stop(): Promise<void> {
    this.#stopping.abort(new StorageError('unavailable', 'The agent is shutting down'));
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turn;
  }

  #schedule(ms: number): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#begin(), ms);
    this.#timer.unref();
  }

  #begin(): void {
    if (this.#turn !== null || this.#stopping.signal.aborted) return;
    this.#again = false;
    this.#turn = this.#work()
      .catch((error: unknown) => this.#tell(error))
      .finally(() => {
        this.#turn = null;
        this.#schedule(
          this.#again ? GATHER_MS : Math.min(POLL_MS, this.#breaker.waitMs || POLL_MS),
        );
      });
  }

  /** Until nothing is owed, or it is away. */
  async #work(): Promise<void> {
    const { hostId } = this.#parts;
    const { name } = this.replica;
    while (!this.#stopping.signal.aborted && this.#breaker.allows()) {
      const pass = this.#breaker.start();
      let isMore = false;
      try {
        const objects = await this.#connected();
        const parts = { ...this.#parts, signal: this.#stopping.signal };
        const done = await workOff(parts, name, objects, hostId());
        if (done?.outage != null) throw done.outage;
        isMore = done !== null;
        if (!isMore) await writeFiles(parts, name, objects);
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (!isOutage(error) || error.service === 'database') {
          this.#breaker.undecided(pass);
          throw error;
        }
        const cause = { kind: error.outage ?? 'away', reason: error.message };
        this.#breaker.failed(pass, cause, error.retryAfterMs);
        // It is told once, when everything waits for it.
        if (this.#breaker.isOpen && !this.#isTold) this.#tell(error);
        this.#isTold = this.#breaker.isOpen;
        continue;
      }
      this.#breaker.succeeded();
      this.#isTold = false;
      if (!isMore) return;
    }
  }

  async #connected(): Promise<ReplicaObjects> {
    const { reach } = this.#parts;
    this.#objects ??= await connectReplica(this.replica, this.#stopping.signal, reach);
    return this.#objects;
  }

  /** The cloud that is away is the outbox's to tell of. */
  #tell(error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    if (!isOutage(error) || error.service === 'storage') this.#parts.onProblem(error);
  }
}
