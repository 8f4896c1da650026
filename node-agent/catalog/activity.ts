import { type Activity, NOTHING_DONE } from '../events/activity.ts';
import type { Database } from './database.ts';

/** What was done from a time on, in milliseconds. */
export type ActivityRow = Activity & Readonly<{ start: number }>;

const MINUTE_MS = 60_000;
/** How long a time is that is counted, in minutes, and how many of them are kept. */
const KEPT = { 1: 2 * 1440, 60: 400 * 24 } as const;

/** By the minute for at least two days, by the hour for at least 400. */
export type Resolution = keyof typeof KEPT;

/** The table of activity: what was done, by minute and by hour, in the transaction that does it. */
export class ActivityTable {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Adds to what was done at a time, in a transaction of the caller's. */
  add(counted: Partial<Activity>, now: number): void {
    const done = { ...NOTHING_DONE, ...counted };
    for (const minutes of [1, 60] as const) {
      const length = minutes * MINUTE_MS;
      const start = Math.floor(now / length) * length;
      const isNew = this.#db.get<{ is_new: 0 | 1 }>(
        `insert into activity values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         on conflict (minutes, start) do update set
           saves = saves + ?3, saved_bytes = saved_bytes + ?4, save_ms = save_ms + ?5,
           longest_save_ms = max(longest_save_ms, ?6),
           uploads = uploads + ?7, uploaded_bytes = uploaded_bytes + ?8,
           upload_ms = upload_ms + ?9, longest_upload_ms = max(longest_upload_ms, ?10),
           failures = failures + ?11, deletions = deletions + ?12
         returning saves + uploads + failures + deletions = ?3 + ?7 + ?11 + ?12 as is_new`,
        minutes,
        start,
        done.saves,
        done.savedBytes,
        done.saveMs,
        done.longestSaveMs,
        done.uploads,
        done.uploadedBytes,
        done.uploadMs,
        done.longestUploadMs,
        done.failures,
        done.deletions,
      )?.is_new;
      if (isNew === 1) this.#trim(minutes);
    }
  }

  /** By their number: a clock that is wrong for once takes nothing along. */
  #trim(minutes: Resolution): void {
    this.#db.run(
      `delete from activity where minutes = ?1 and start <= (
         select start from activity where minutes = ?1 order by start desc limit 1 offset ?2
       )`,
      minutes,
      KEPT[minutes],
    );
  }

  /**
   * What was done from a time on, the oldest first; times in which nothing was are left out.
   *
   * @param minutes how long a time of the answer is, a multiple of what is kept by
   * @param from in milliseconds
   */
  list(by: Resolution, minutes: number, from: number): ActivityRow[] {
    const length = minutes * MINUTE_MS;
    return this.#db.all<ActivityRow>(
      `select start - start % ?3 as start,
         sum(saves) as saves, sum(saved_bytes) as savedBytes, sum(save_ms) as saveMs,
         max(longest_save_ms) as longestSaveMs,
         sum(uploads) as uploads, sum(uploaded_bytes) as uploadedBytes,
         sum(upload_ms) as uploadMs, max(longest_upload_ms) as longestUploadMs,
         sum(failures) as failures, sum(deletions) as deletions
       from activity where minutes = ?1 and start >= ?2
       group by 1 order by 1`,
      by,
      from,
      length,
    );
  }
}
