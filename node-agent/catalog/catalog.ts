import { dirname, join } from 'node:path';
import { ActivityTable } from './activity.ts';
import { Database } from './database.ts';
import { Deliveries } from './deliveries.ts';
import { Epoch } from './epoch.ts';
import { Events } from './events.ts';
import { Generations } from './generations.ts';
import { Jobs } from './jobs.ts';
import { Meta } from './meta.ts';
import { Projects } from './projects.ts';
import { Receivers } from './receivers.ts';

/**
 * Which generations there are and what work is owed for them: an index of the disk, which can be
 * made again from it. Several processes may have it open. Each table is one of its fields; what
 * happens to several at once is in `saving.ts`, `progress.ts`, `owing.ts` and `deleting.ts`.
 */
export class Catalog {
  readonly generations: Generations;
  readonly projects: Projects;
  readonly jobs: Jobs;
  readonly events: Events;
  readonly activity: ActivityTable;
  readonly deliveries: Deliveries;
  readonly receivers: Receivers;
  readonly meta: Meta;
  readonly #epoch: Epoch;
  readonly #db: Database;

  /**
   * @param makeRoom asked on a full disk; says whether there is some then
   * @throws StorageError `corrupt` where it is damaged, or of an older version of ours
   */
  constructor(path: string, makeRoom: () => boolean = () => false) {
    this.#db = new Database(path, makeRoom);
    this.generations = new Generations(this.#db);
    this.projects = new Projects(this.#db);
    this.jobs = new Jobs(this.#db);
    this.meta = new Meta(this.#db);
    this.events = new Events(this.#db, this.meta);
    this.activity = new ActivityTable(this.#db);
    this.deliveries = new Deliveries(this.#db);
    this.receivers = new Receivers(this.#db);
    this.#epoch = new Epoch(join(dirname(path), 'epoch'), this.meta);
    this.#db.onBegin = () => this.#epoch.compare();
    try {
      // That is compared at once, and what is asked for often is made while others are kept out.
      this.transaction(() => this.meta.hostId);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Runs all of it or nothing, alone among all processes; within another, as a part of that. */
  transaction<T>(work: () => T): T {
    return this.#db.transaction(work);
  }

  /**
   * As {@link transaction}, for as long as it takes others to let go: the event loop goes on meanwhile.
   *
   * @param options.durably whether it is safe from a power loss when it ends: for what the disk does
   *   not say
   * @throws StorageError `unavailable` where others keep it busy for too long
   */
  write<T>(work: () => T, options: { durably?: boolean } = {}): Promise<T> {
    return this.#db.write(work, options);
  }

  /**
   * Runs a part of a transaction that may fail without the rest of it.
   *
   * @throws what concerns all of the transaction, as a full disk does
   */
  attempt<T>(work: () => T): PromiseSettledResult<T> {
    return this.#epoch.attempt(() => this.#db.attempt(work));
  }

  get isInTransaction(): boolean {
    return this.#db.isInTransaction;
  }

  /** Has something done once the transaction that runs is committed, and not where it is not. Never throws. */
  afterCommit(work: () => void): void {
    this.#db.afterCommit(work);
  }

  /**
   * Counts a commit, a replacement or a deletion on disk, so that a catalog that lacks it is told from
   * one that has it. In the transaction that notes it.
   */
  countUp(projectId: string): void {
    this.#epoch.countUp(projectId);
  }

  /** Looks at every page. @throws StorageError `corrupt` */
  check(): void {
    this.#db.check();
  }

  /** Whether its file is still where it was opened: what is written to one that was removed is lost. */
  get isInPlace(): boolean {
    return this.#db.isInPlace;
  }

  /** Whether SQLite found damage: the next start has to look for it. */
  get isDamaged(): boolean {
    return this.#db.isDamaged;
  }

  close(): void {
    this.#epoch.close();
    this.#db.close();
  }
}
