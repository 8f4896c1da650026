import type { Database } from './database.ts';
import type { Meta } from './meta.ts';

/** So many are kept. */
const KEPT = 10_000;
/** Those that are too many go at once, after so many more. */
const TRIM_EVERY = 500;

/** An event as it is kept: its number, and its text as JSON in the form of the wire. */
export type LoggedEvent = Readonly<{ id: number; kind: string; body: string }>;

/** The table of events: the last of what happened, in the order in which it was noted. */
export class Events {
  readonly #db: Database;
  readonly #meta: Meta;

  constructor(db: Database, meta: Meta) {
    this.#db = db;
    this.#meta = meta;
  }

  /** Which log this is, in eight characters: numbers of another one say nothing here. */
  get logMark(): string {
    return this.#meta.eventLogId.slice(0, 8);
  }

  /** Adds one, in a transaction of the caller's. @returns its number */
  add(kind: string, body: string): number {
    const sql = 'insert into events (kind, body) values (?, ?) returning id';
    const { id } = this.#db.get<{ id: number }>(sql, kind, body)!;
    if (id % TRIM_EVERY === 0) this.#db.run('delete from events where id <= ?', id - KEPT);
    return id;
  }

  /** Under which id others know one: of another log the same number is another event. */
  idOf(number: number): string {
    return `${this.logMark}-${number}`;
  }

  /** The number of the last one; 0 where there was none. */
  get last(): number {
    const sql = `select seq from sqlite_sequence where name = 'events'`;
    return this.#db.get<{ seq: number }>(sql)?.seq ?? 0;
  }

  /** The number of the first that is kept; `null` where none is. */
  get first(): number | null {
    return this.#db.get<{ id: number | null }>('select min(id) as id from events')?.id ?? null;
  }

  /** Those that came after one, the oldest first. */
  after(id: number, limit: number): LoggedEvent[] {
    const sql = 'select id, kind, body from events where id > ? order by id limit ?';
    return this.#db.all<LoggedEvent>(sql, id, limit);
  }
}
