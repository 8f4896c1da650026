import type { Ref } from '../contract.ts';
import type { Database } from './database.ts';

/** Jobs of one generation go one after another. */
const IS_FIRST = `not exists (
  select 1 from jobs e where e.project_id = j.project_id and e.version = j.version and e.id < j.id
)`;

/**
 * The steps of a job: on the way to the cloud `reserve`, `upload`, `record`, `verify`; once that is
 * given up `fail`, which says so in the cloud; `delete`; or `undelete`, which goes on with `reserve`.
 */
export const STEPS = [
  'reserve',
  'upload',
  'record',
  'verify',
  'fail',
  'delete',
  'undelete',
] as const;

export type Step = (typeof STEPS)[number];

/** Work owed to the cloud for one generation. */
export type Job = Readonly<{
  id: number;
  project_id: string;
  version: number;
  step: Step;
  since: number;
  attempts: number;
  due_at: number;
  leased_by: string | null;
  parked: 0 | 1;
  failure: string | null;
  upload_url: string | null;
  uploaded_sha256: string | null;
  setbacks: number;
  given_up_at: Step | null;
}>;

type JobInLine = Pick<Job, 'step' | 'due_at' | 'id'>;

/** A job, and the generation it is for. */
export type OwedJob = Job & Readonly<{ generation_id: string }>;

export type JobCounts = Readonly<{
  owed: number;
  parked: number;
  since: number | null;
  nextDueAt: number | null;
}>;

/**
 * The table of jobs: the durable list of work. Work is done at least once; whoever does it makes it
 * count once. Its rows change here and nowhere else, which `tests/architecture` holds; what has to
 * change with them is in one transaction of the caller's.
 */
export class Jobs {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Takes the job of these steps that is due next, and more of its step after it. One that failed
   * before is taken alone: it may be what the others would fail with.
   */
  claim(steps: readonly Step[], limit: number, instanceId: string, now: number): Job[] {
    return this.#db.transaction(() => {
      const [next] = steps
        .flatMap((step) => this.#next(step) ?? [])
        .toSorted((a, b) => a.due_at - b.due_at || a.id - b.id);
      if (next === undefined || next.due_at > now) return [];
      const due = this.#db.all<Job>(
        `select * from jobs j
         where step = ? and parked = 0 and leased_by is null and due_at <= ? and ${IS_FIRST}
         order by due_at, id limit ?`,
        next.step,
        now,
        limit,
      );
      const failed = due[0]!.attempts > 0;
      const jobs = failed ? due.slice(0, 1) : due.filter(({ attempts }) => attempts === 0);
      for (const { id } of jobs) {
        this.#db.run('update jobs set leased_by = ? where id = ?', instanceId, id);
      }
      return jobs;
    });
  }

  /** When the next job of a step is due; `null` where none waits. */
  nextDue(step: Step): number | null {
    return this.#next(step)?.due_at ?? null;
  }

  /** Of one step at a time: over several, SQLite would sort all that is owed. */
  #next(step: Step): JobInLine | null {
    return this.#db.get<JobInLine>(
      `select step, due_at, id from jobs j
       where step = ? and parked = 0 and leased_by is null and ${IS_FIRST}
       order by due_at, id limit 1`,
      step,
    );
  }

  /** Goes on with a step, now. */
  advance(job: Job, step: Step, now: number): void {
    this.#db.run(
      `update jobs set step = ?, attempts = 0, due_at = ?, leased_by = null, failure = null
       where id = ?`,
      step,
      now,
      job.id,
    );
  }

  /** Goes on at a time, with a step that was done before. */
  retry(job: Job, options: Readonly<{ step: Step; dueAt: number; failure: string }>): void {
    this.#db.run(
      `update jobs set step = ?1, attempts = attempts + 1, due_at = ?2, leased_by = null,
         failure = ?3, setbacks = setbacks + (step <> ?1)
       where id = ?4`,
      options.step,
      options.dueAt,
      options.failure,
      job.id,
    );
  }

  /** Gives a job back untouched: its worker stops. */
  release(job: Job): void {
    this.#db.run('update jobs set leased_by = null where id = ?', job.id);
  }

  /** Gives up what the job is for: it is to say so in the cloud. */
  giveUp(job: Job, failure: string, now: number): void {
    this.#db.run(
      `update jobs set step = 'fail', given_up_at = step, attempts = 0, due_at = ?,
         leased_by = null, failure = ?
       where id = ?`,
      now,
      failure,
      job.id,
    );
  }

  /** Sets a job aside until somebody has it tried again: it stays visible. */
  park(job: Job, failure: string | null): void {
    this.#db.run(
      `update jobs set parked = 1, attempts = attempts + 1, leased_by = null, failure = ?
       where id = ?`,
      failure,
      job.id,
    );
  }

  /** Ends a job: nothing is owed for it any more. */
  end(job: Job): void {
    this.#db.run('delete from jobs where id = ?', job.id);
  }

  /** Whether more was owed for the generation since. */
  hasLater(job: Job): boolean {
    const sql = 'select 1 from jobs where project_id = ? and version = ? and id > ?';
    return this.#db.get(sql, job.project_id, job.version, job.id) !== null;
  }

  /** Whether the deletion of a generation is still to be told, or that it was undone. */
  isDeletionOwed({ projectId, version }: Ref): boolean {
    const sql = `select 1 from jobs where project_id = ? and version = ? and step in ('delete', 'undelete')`;
    return this.#db.get(sql, projectId, version) !== null;
  }

  /** Owes a step for a generation, unless what is owed already comes to the same. */
  owe(ref: Ref, step: 'reserve' | 'delete', now: number): void {
    // What was given up before is no reason not to ask again.
    const parked = 'delete from jobs where project_id = ? and version = ? and parked = 1';
    this.#db.run(parked, ref.projectId, ref.version);
    const owed = this.#db.get(
      `select 1 from jobs where project_id = ? and version = ? and (step = 'delete' or ? <> 'delete')`,
      ref.projectId,
      ref.version,
      step,
    );
    if (owed === null) this.add(ref, step, now);
  }

  /** Owes a step for a generation, after what is owed already. */
  add({ projectId, version }: Ref, step: Step, now: number): void {
    const sql = `insert into jobs (project_id, version, step, since, due_at) values (?, ?, ?, ?, ?)`;
    this.#db.run(sql, projectId, version, step, now, now);
  }

  /** Drops what is owed for a generation and not worked on. */
  dropUnleased({ projectId, version }: Ref): void {
    const sql = 'delete from jobs where project_id = ? and version = ? and leased_by is null';
    this.#db.run(sql, projectId, version);
  }

  dropAll({ projectId, version }: Ref): void {
    this.#db.run('delete from jobs where project_id = ? and version = ?', projectId, version);
  }

  /**
   * Begins again with what was given up, and has what waits tried at once.
   *
   * @param only one project; `null`: all
   * @returns those that were given up, as they were
   */
  restart(now: number, only: string | null): Job[] {
    const chosen = '(?1 is null or project_id = ?1)';
    this.#db.run(`update jobs set due_at = ?2 where due_at > ?2 and ${chosen}`, only, now);
    const givenUp = this.#db.all<Job>(
      `select * from jobs
       where (parked = 1 or (step = 'fail' and leased_by is null)) and ${chosen}`,
      only,
    );
    for (const { id } of givenUp) {
      this.#db.run(
        `update jobs set step = case when step = 'delete' then step
             when given_up_at = 'undelete' then given_up_at else 'reserve' end,
           parked = 0, given_up_at = null, attempts = 0, setbacks = 0, due_at = ?, failure = null
         where id = ?`,
        now,
        id,
      );
    }
    return givenUp;
  }

  /** Has some jobs tried at once, as if they had not failed: it was not their fault. */
  forgive(ids: Iterable<number>, now: number): void {
    for (const id of ids) {
      this.#db.run(
        `update jobs set attempts = 0, due_at = min(due_at, ?) where id = ? and parked = 0`,
        now,
        id,
      );
    }
  }

  /**
   * Moves the time at which each job is due, after somebody set the clock.
   *
   * @param byMs milliseconds
   * @param latest no job is due later than this
   */
  adjustDue(byMs: number, latest: number): void {
    if (byMs !== 0) this.#db.run('update jobs set due_at = due_at + ?', Math.round(byMs));
    const late = this.#db.get('select 1 from jobs where due_at > ? limit 1', latest);
    if (late !== null) this.#db.run('update jobs set due_at = ? where due_at > ?', latest, latest);
  }

  /** Remembers which archive is in the bucket, to be recorded, or where an upload goes on. */
  note(job: Job, noted: Partial<Pick<Job, 'uploaded_sha256' | 'upload_url'>>): void {
    for (const [name, value] of Object.entries(noted)) {
      this.#db.run(`update jobs set ${name} = ? where id = ?`, value, job.id);
    }
  }

  /** Takes jobs back from whoever does not work on them any more. */
  free(isLeft: (job: Readonly<{ id: number; leased_by: string }>) => boolean): void {
    const leased = this.#db.all<{ id: number; leased_by: string }>(
      'select id, leased_by from jobs where leased_by is not null',
    );
    for (const job of leased) {
      if (isLeft(job)) this.#db.run('update jobs set leased_by = null where id = ?', job.id);
    }
  }

  /** What is owed, oldest first, after the given one. */
  list(afterId: number, limit: number, { isParked = false } = {}): OwedJob[] {
    return this.#db.all<OwedJob>(
      `select j.*, g.generation_id from jobs j
       join generations g on g.project_id = j.project_id and g.version = j.version
       where j.id > ? and j.parked >= ? order by j.id limit ?`,
      afterId,
      isParked ? 1 : 0,
      limit,
    );
  }

  /** `since` is from when on the oldest that is not parked is owed. */
  counts(): JobCounts {
    const row = this.#db.get<Omit<JobCounts, 'nextDueAt'>>(
      `select count(*) filter (where parked = 0) as owed,
         count(*) filter (where parked = 1) as parked,
         min(since) filter (where parked = 0) as since
       from jobs`,
    );
    const due = STEPS.flatMap((step) => this.nextDue(step) ?? []);
    const nextDueAt = due.length === 0 ? null : Math.min(...due);
    return { owed: 0, parked: 0, since: null, ...row, nextDueAt };
  }
}
