import type { Database } from './database.ts';

/** An event that is owed to a webhook. */
export type Delivery = Readonly<{
  id: number;
  webhook_id: string;
  /** Which event it is: the same each time that it is sent. */
  event_id: string;
  /** The event, as JSON in the form of the wire. */
  body: string;
  /** From when on it is owed, in milliseconds. */
  since: number;
  attempts: number;
  due_at: number;
  leased_by: string | null;
  parked: 0 | 1;
  failure: string | null;
}>;

export type DeliveryCounts = Readonly<{
  owed: number;
  parked: number;
  /** From when on the oldest is owed that is not parked, in milliseconds. */
  since: number | null;
}>;

/** So many are owed to one webhook, and parked, at most. */
const MOST = 50_000;
/** Those that are too many go at once, after so many more. */
const TRIM_EVERY = 500;

/**
 * The table of deliveries: what is still to be told, to whom. It is done at least once. A row comes in the
 * transaction that notes the event.
 */
export class Deliveries {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Owes an event to a webhook. @returns whether it is time to look whether there are too many, of any */
  add(owed: Pick<Delivery, 'webhook_id' | 'event_id' | 'body'>, now: number): boolean {
    const { webhook_id: webhookId, event_id: eventId, body } = owed;
    const { id } = this.#db.get<{ id: number }>(
      `insert into deliveries (webhook_id, event_id, body, since, due_at)
       values (?1, ?2, ?3, ?4, ?4) returning id`,
      webhookId,
      eventId,
      body,
      now,
    )!;
    return id % TRIM_EVERY === 0;
  }

  /** Drops the oldest of a webhook that are too many. @returns how many */
  trim(webhookId: string): number {
    const last = this.#db.get<{ id: number }>(
      'select id from deliveries where webhook_id = ? order by id desc limit 1 offset ?',
      webhookId,
      MOST,
    );
    if (last === null) return 0;
    return this.#db.all(
      'delete from deliveries where webhook_id = ? and id <= ? returning id',
      webhookId,
      last.id,
    ).length;
  }

  /** Takes those of a webhook that are due, the one that is due longest first. */
  claim(webhookId: string, limit: number, instanceId: string, now: number): Delivery[] {
    const due = this.#db.all<Delivery>(
      `select * from deliveries
       where webhook_id = ? and parked = 0 and leased_by is null and due_at <= ?
       order by due_at, id limit ?`,
      webhookId,
      now,
      limit,
    );
    for (const { id } of due) {
      this.#db.run('update deliveries set leased_by = ? where id = ?', instanceId, id);
    }
    return due;
  }

  /** When the next one of a webhook is due; `null` where none waits. */
  nextDue(webhookId: string): number | null {
    return (
      this.#db.get<{ due: number | null }>(
        `select min(due_at) as due from deliveries
         where webhook_id = ? and parked = 0 and leased_by is null`,
        webhookId,
      )?.due ?? null
    );
  }

  /** Ends one: it was accepted. */
  end(id: number): void {
    this.#db.run('delete from deliveries where id = ?', id);
  }

  retry(id: number, dueAt: number, failure: string): void {
    this.#db.run(
      `update deliveries set attempts = attempts + 1, due_at = ?, leased_by = null, failure = ?
       where id = ?`,
      dueAt,
      failure,
      id,
    );
  }

  /** Sets one aside until somebody has it tried again. */
  park(id: number, failure: string): void {
    this.#db.run(
      `update deliveries set parked = 1, attempts = attempts + 1, leased_by = null, failure = ?
       where id = ?`,
      failure,
      id,
    );
  }

  /** Sets all of a webhook aside that nobody works on. */
  parkAll(webhookId: string, failure: string): void {
    this.#db.run(
      `update deliveries set parked = 1, failure = ?
       where webhook_id = ? and parked = 0 and leased_by is null`,
      failure,
      webhookId,
    );
  }

  /** Gives one back untouched: its worker stops. */
  release(id: number): void {
    this.#db.run('update deliveries set leased_by = null where id = ?', id);
  }

  /** Takes them back from whoever does not work on them any more. */
  free(isLeft: (delivery: Readonly<{ id: number; leased_by: string }>) => boolean): void {
    const leased = this.#db.all<{ id: number; leased_by: string }>(
      'select id, leased_by from deliveries where leased_by is not null',
    );
    for (const delivery of leased) if (isLeft(delivery)) this.release(delivery.id);
  }

  /** Has those of a webhook that wait, and did not fail so often, tried at once. */
  hasten(webhookId: string, now: number, most: number): void {
    this.#db.run(
      `update deliveries set due_at = ?1
       where webhook_id = ?2 and due_at > ?1 and parked = 0 and attempts < ?3`,
      now,
      webhookId,
      most,
    );
  }

  /** Moves what somebody who set the clock made wait for longer than anything does. */
  adjustDue(latest: number): void {
    this.#db.run('update deliveries set due_at = ?1 where due_at > ?1', latest);
  }

  /**
   * Begins again with what was parked: for as long as it would have been tried from now on.
   *
   * @returns how many were parked
   */
  restart(webhookId: string, now: number): number {
    this.hasten(webhookId, now, Number.MAX_SAFE_INTEGER);
    return this.#db.all(
      `update deliveries set parked = 0, attempts = 0, since = ?1, due_at = ?1, failure = null
       where webhook_id = ?2 and parked = 1 returning id`,
      now,
      webhookId,
    ).length;
  }

  /** Drops all that is owed to a webhook. */
  dropAll(webhookId: string): void {
    this.#db.run('delete from deliveries where webhook_id = ?', webhookId);
  }

  /** What is owed, by webhook. */
  counts(): ReadonlyMap<string, DeliveryCounts> {
    const rows = this.#db.all<DeliveryCounts & { webhook_id: string }>(
      `select webhook_id, count(*) filter (where parked = 0) as owed,
         count(*) filter (where parked = 1) as parked,
         min(since) filter (where parked = 0) as since
       from deliveries group by webhook_id`,
    );
    return new Map(rows.map(({ webhook_id: id, ...counts }) => [id, counts]));
  }

  /** Why the one that failed first was parked; `null` where none is. */
  whyParked(webhookId: string): string | null {
    const sql =
      'select failure from deliveries where webhook_id = ? and parked = 1 order by id limit 1';
    return this.#db.get<{ failure: string | null }>(sql, webhookId)?.failure ?? null;
  }
}
