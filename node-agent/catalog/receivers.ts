import type { Database } from './database.ts';

/** How the receiver of a webhook is. */
export type Receiver = Readonly<{
  /** How often in a row it could not be told anything. */
  failures: number;
  /** Nothing is sent before, in milliseconds. */
  wait_until: number;
  /** Why it could not be told; `null` where it could. */
  failure: string | null;
  /** How many events it was not told, for too much was owed to it. */
  dropped: number;
}>;

const WELL: Receiver = { failures: 0, wait_until: 0, failure: null, dropped: 0 };

/** The table of receivers: of those of webhooks that are, or were, not well. */
export class Receivers {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  find(webhookId: string): Receiver {
    const sql = 'select failures, wait_until, failure, dropped from receivers where webhook_id = ?';
    return this.#db.get<Receiver>(sql, webhookId) ?? WELL;
  }

  /** It could not be told: all that is owed to it waits. */
  fail(webhookId: string, waitUntil: number, failure: string): void {
    this.#db.run(
      `insert into receivers (webhook_id, failures, wait_until, failure) values (?1, 1, ?2, ?3)
       on conflict (webhook_id) do update
       set failures = failures + 1, wait_until = ?2, failure = ?3`,
      webhookId,
      waitUntil,
      failure,
    );
  }

  /** It was told something, or is to be tried at once. */
  recover(webhookId: string): void {
    this.#db.run(
      `update receivers set failures = 0, wait_until = 0, failure = null
       where webhook_id = ? and failures > 0`,
      webhookId,
    );
  }

  /** Counts events that it is not told. */
  drop(webhookId: string, count: number): void {
    this.#db.run(
      `insert into receivers (webhook_id, dropped) values (?1, ?2)
       on conflict (webhook_id) do update set dropped = dropped + ?2`,
      webhookId,
      count,
    );
  }

  /** Moves what somebody who set the clock made wait for longer than anything does. */
  adjustWait(latest: number): void {
    this.#db.run('update receivers set wait_until = ?1 where wait_until > ?1', latest);
  }

  forget(webhookId: string): void {
    this.#db.run('delete from receivers where webhook_id = ?', webhookId);
  }
}
