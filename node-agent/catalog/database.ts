import { statSync } from 'node:fs';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from '../contract.ts';
import { isDiskFull } from '../disk/file-errors.ts';
import { Checkpoints } from './checkpoints.ts';
import { fromSqlite, isBusy } from './errors.ts';
import { openPrivate } from './open-private.ts';
import { makeSchema } from './schema.ts';

/**
 * How long a statement waits for another process, in milliseconds: no longer than the event loop
 * may stand still. What writes waits elsewhere, in {@link Database.write}.
 */
const BUSY_MS = 5;
/** How long {@link Database.write} waits for another process, in milliseconds. */
const WRITE_WAIT_MS = 10_000;
const WRITE_POLL_MS = 20;
/** A log that is longer is copied into the file at the end. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;

/** The SQLite database of a catalog: statements and transactions, and nothing of what is in it. */
export class Database {
  /** Set once SQLite found damage: the next start has to look for it. */
  isDamaged = false;
  readonly #path: string;
  readonly #inode: number;
  readonly #db: DatabaseSync;
  readonly #checkpoints: Checkpoints;
  readonly #statements = new Map<string, StatementSync>();
  /** Those that wait until others let go, one after another. */
  #line: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isFree = false;

  /** Told as a transaction begins, within it. */
  onBegin: () => void = () => {};
  readonly #makeRoom: () => boolean;
  /** What is done once the transaction that runs is committed. */
  #committed: (() => void)[] = [];

  /**
   * @param makeRoom asked on a full disk; says whether there is some then
   * @throws StorageError `corrupt` where it is damaged, or of an older version of ours
   */
  constructor(path: string, makeRoom: () => boolean) {
    this.#path = path;
    this.#makeRoom = makeRoom;
    this.#db = openPrivate(path);
    // SQLite does it itself then, within a commit.
    this.#checkpoints = new Checkpoints(path, () => {
      if (this.#db.isOpen) this.#db.exec('pragma wal_autocheckpoint = 1000');
    });
    this.#inode = statSync(path).ino;
    try {
      this.#db.exec(
        `pragma busy_timeout = ${BUSY_MS}; pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0`,
      );
      this.transaction(() => {
        makeSchema(this.#db, path);
      });
    } catch (error) {
      this.#db.close();
      throw fromSqlite(error, path);
    }
  }

  /** Looks at every page. @throws StorageError `corrupt` */
  check(): void {
    const found = this.get<{ quick_check: string }>('pragma quick_check(1)')?.quick_check;
    if (found !== 'ok') throw new StorageError('corrupt', `The catalog is damaged: ${found}`);
  }

  close(): void {
    this.#checkpoints.close();
    this.#copyLog();
    this.#db.close();
  }

  /** Of processes that do not live long nobody counts enough commits, while another has it open. */
  #copyLog(): void {
    const log = statSync(`${this.#path}-wal`, { throwIfNoEntry: false });
    if ((log?.size ?? 0) < MAX_LOG_BYTES) return;
    try {
      this.#db.exec('pragma wal_checkpoint(passive)');
    } catch {
      // Somebody else is at it, or the next one does it.
    }
  }

  /** Whether its file is still where it was opened: what is written to one that was removed is lost. */
  get isInPlace(): boolean {
    return statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  /** Runs all of it or nothing, alone among all processes; within another, as a part of that. */
  transaction<T>(work: () => T): T {
    if (this.isInTransaction) return work();
    try {
      return this.#transaction(work);
    } catch (error) {
      if (!isDiskFull(error) || !this.#makeRoom()) throw error;
      return this.#transaction(work);
    }
  }

  #transaction<T>(work: () => T): T {
    let result: T;
    this.#committed = [];
    try {
      this.#db.exec('begin immediate');
      this.onBegin();
      result = work();
      this.#db.exec('commit');
    } catch (error) {
      // A full disk rolls back by itself.
      if (this.isInTransaction) this.#db.exec('rollback');
      throw this.#translate(error);
    }
    this.#checkpoints.count();
    for (const told of this.#committed.splice(0)) told();
    return result;
  }

  /**
   * Runs a part of a transaction that may fail without the rest of it.
   *
   * @throws what concerns all of the transaction, as a full disk does
   */
  attempt<T>(work: () => T): PromiseSettledResult<T> {
    const told = this.#committed.length;
    this.#translated(() => this.#db.exec('savepoint part'));
    try {
      const value = work();
      this.#translated(() => this.#db.exec('release part'));
      return { status: 'fulfilled', value };
    } catch (reason) {
      const isOfPart = reason instanceof StorageError && !isDiskFull(reason);
      if (!isOfPart || !this.#db.isTransaction) throw reason;
      this.#translated(() => this.#db.exec('rollback to part; release part'));
      this.#committed.length = told;
      return { status: 'rejected', reason };
    }
  }

  get isInTransaction(): boolean {
    return this.#db.isOpen && this.#db.isTransaction;
  }

  /** Has something done once the transaction that runs is committed, and not where it is not. Never throws. */
  afterCommit(work: () => void): void {
    this.#committed.push(work);
  }

  /**
   * As {@link transaction}, for as long as it takes others to let go of the catalog: the event loop
   * goes on meanwhile.
   *
   * @param options.durably whether it is safe from a power loss when it ends: for what the disk does
   *   not say
   * @throws StorageError `unavailable` where others keep it busy for too long
   */
  async write<T>(work: () => T, options: { durably?: boolean } = {}): Promise<T> {
    const deadline = performance.now() + WRITE_WAIT_MS;
    const run = () => (options.durably ? this.#durably(work) : this.transaction(work));
    if (this.#waiting === 0) {
      try {
        return run();
      } catch (error) {
        if (!isBusy(error)) throw error;
      }
    }
    return this.#inLine(async () => {
      for (;;) {
        // Each look may take all of {@link BUSY_MS}: others get their turn between two.
        await sleep(this.#isFree ? 0 : WRITE_POLL_MS * (0.5 + Math.random()));
        try {
          const result = run();
          this.#isFree = true;
          return result;
        } catch (error) {
          this.#isFree = false;
          if (!isBusy(error) || performance.now() > deadline) throw error;
        }
      }
    });
  }

  /** One looks whether others have let go; who comes after it waits for that one. */
  async #inLine<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#line;
    const { promise, resolve: end } = Promise.withResolvers<void>();
    this.#line = promise;
    this.#waiting++;
    try {
      await before;
      return await work();
    } finally {
      this.#waiting--;
      end();
    }
  }

  #durably<T>(work: () => T): T {
    this.#translated(() => this.#db.exec('pragma synchronous = full'));
    try {
      return this.transaction(work);
    } finally {
      this.#translated(() => this.#db.exec('pragma synchronous = normal'));
    }
  }

  #translated<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw this.#translate(error);
    }
  }

  #translate(error: unknown): unknown {
    const known = fromSqlite(error, this.#path);
    this.isDamaged ||= known instanceof StorageError && known.code === 'corrupt';
    return known;
  }

  /** The first row; `null` where there is none. */
  get<T>(sql: string, ...values: SQLInputValue[]): T | null {
    return this.#translated(() => (this.#prepare(sql).get(...values) as T | undefined) ?? null);
  }

  all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#translated(() => this.#prepare(sql).all(...values) as T[]);
  }

  run(sql: string, ...values: SQLInputValue[]): void {
    this.#translated(() => this.#prepare(sql).run(...values));
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
