import type { Catalog, Sql } from './catalog.ts';

/** Jobs of one generation go one after another. */
const IS_FIRST = `not exists (
  select 1 from jobs e where e.project_id = j.project_id and e.version = j.version and e.id < j.id
)`;

/**
 * The steps of a job: on the way to the cloud `reserve`, `upload`, `record`, `verify`; once that is
 * given up `fail`, which says so in the cloud; or `delete`.
 */
export const JOB_KINDS = ['reserve', 'upload', 'record', 'verify', 'fail', 'delete'] as const;

export type JobKind = (typeof JOB_KINDS)[number];

/** Work owed to the cloud for one generation. */
export type Job = Readonly<{
  id: number;
  project_id: string;
  version: number;
  kind: JobKind;
  since: number;
  attempts: number;
  due_at: number;
  leased_by: string | null;
  parked: 0 | 1;
  failure: string | null;
  upload_url: string | null;
  uploaded_sha256: string | null;
  setbacks: number;
  given_up_at: JobKind | null;
}>;

type JobInLine = Pick<Job, 'kind' | 'due_at' | 'id'>;

/** A job, and the generation it is for. */
export type OwedJob = Job & Readonly<{ generation_id: string }>;

export type JobCounts = Readonly<{
  owed: number;
  parked: number;
  since: number | null;
  nextDueAt: number | null;
}>;

/** The durable list of work. Work is done at least once; whoever does it makes it count once. */
export class Jobs {
  readonly #catalog: Catalog;
  readonly #sql: Sql;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
    this.#sql = catalog.sql;
  }

  /**
   * Takes the job of these kinds that is due next, and more of its kind after it. One that failed
   * before is taken alone: it may be what the others would fail with.
   */
  claim(kinds: readonly JobKind[], limit: number, instanceId: string, now: number): Job[] {
    return this.#catalog.transaction(() => {
      const [next] = kinds
        .flatMap((kind) => this.#next(kind) ?? [])
        .toSorted((a, b) => a.due_at - b.due_at || a.id - b.id);
      if (next === undefined || next.due_at > now) return [];
      const due = this.#sql.all<Job>(
        `select * from jobs j
         where kind = ? and parked = 0 and leased_by is null and due_at <= ? and ${IS_FIRST}
         order by due_at, id limit ?`,
        next.kind,
        now,
        limit,
      );
      const failed = due[0]!.attempts > 0;
      const jobs = failed ? due.slice(0, 1) : due.filter(({ attempts }) => attempts === 0);
      for (const { id } of jobs) {
        this.#sql.run('update jobs set leased_by = ? where id = ?', instanceId, id);
      }
      return jobs;
    });
  }

  /** When the next job of a kind is due; `null` where none waits. */
  nextDue(kind: JobKind): number | null {
    return this.#next(kind)?.due_at ?? null;
  }

  /** Of one kind at a time: over several, SQLite would sort all that is owed. */
  #next(kind: JobKind): JobInLine | null {
    return this.#sql.get<JobInLine>(
      `select kind, due_at, id from jobs j
       where kind = ? and parked = 0 and leased_by is null and ${IS_FIRST}
       order by due_at, id limit 1`,
      kind,
    );
  }

  /**
   * Ends a step: the job goes on with the next kind, or is done. Where the generation was
   * deleted meanwhile, only the deletion is still owed.
   */
  finish(job: Job, next: JobKind | null, now: number): void {
    this.#catalog.transaction(() => {
      if (next === null || this.#isObsolete(job)) {
        this.#drop(job);
        return;
      }
      this.#sql.run(
        `update jobs set kind = ?, attempts = 0, due_at = ?, leased_by = null, failure = null
         where id = ?`,
        next,
        now,
        job.id,
      );
    });
  }

  /** Gives a job back to be tried again at a time, from the given step. */
  retry(job: Job, options: Readonly<{ kind: JobKind; dueAt: number; failure: string }>): void {
    if (this.#isObsolete(job)) {
      this.#drop(job);
      return;
    }
    this.#sql.run(
      `update jobs set kind = ?1, attempts = attempts + 1, due_at = ?2, leased_by = null,
         failure = ?3, setbacks = setbacks + (kind <> ?1)
       where id = ?4`,
      options.kind,
      options.dueAt,
      options.failure,
      job.id,
    );
  }

  /** Gives a job back untouched: its worker stops, or the cloud is away. */
  release(job: Job, failure: string | null = job.failure): void {
    this.#sql.run('update jobs set leased_by = null, failure = ? where id = ?', failure, job.id);
  }

  /**
   * Gives up a job that cannot succeed as things are: it stays visible. That of an upload says so in
   * the cloud first.
   */
  giveUp(job: Job, failure: string, now: number): void {
    if (this.#isObsolete(job)) {
      this.#drop(job);
      return;
    }
    if (job.kind === 'delete' || job.kind === 'fail') {
      this.#park(job, failure);
      return;
    }
    this.#catalog.transaction(() => {
      this.#sql.run(
        `update jobs set kind = 'fail', given_up_at = kind, attempts = 0, due_at = ?,
           leased_by = null, failure = ?
         where id = ?`,
        now,
        failure,
        job.id,
      );
      this.#sql.run(
        `update generations set status = 'failed', failure = ?
         where project_id = ? and version = ?`,
        failure,
        job.project_id,
        job.version,
      );
    });
  }

  /** Sets a job aside until somebody has it tried again. */
  park(job: Job): void {
    if (this.#isObsolete(job)) this.#drop(job);
    else this.#park(job, job.failure);
  }

  #park(job: Job, failure: string | null): void {
    this.#sql.run(
      `update jobs set parked = 1, attempts = attempts + 1, leased_by = null, failure = ?
       where id = ?`,
      failure,
      job.id,
    );
  }

  /**
   * Has parked jobs tried again, and those that wait at once.
   *
   * @param projectId of one project; `null`: all
   * @returns how many were given up
   */
  unpark(now: number, projectId: string | null = null): number {
    return this.#catalog.transaction(() => {
      const chosen = `(?1 is null or project_id = ?1)`;
      const waiting = `update jobs set due_at = ?2 where due_at > ?2 and ${chosen}`;
      this.#sql.run(waiting, projectId, now);
      const givenUp = this.#sql.all<Job>(
        `select * from jobs
         where (parked = 1 or (kind = 'fail' and leased_by is null)) and ${chosen}`,
        projectId,
      );
      for (const job of givenUp) {
        this.#sql.run(
          `update jobs set kind = case kind when 'delete' then kind else 'reserve' end,
             parked = 0, given_up_at = null, attempts = 0, setbacks = 0, due_at = ?, failure = null
           where id = ?`,
          now,
          job.id,
        );
        this.#sql.run(
          `update generations set status = case when uploaded_at is null then 'pending' else 'uploaded' end,
             failure = null
           where project_id = ? and version = ? and status = 'failed'`,
          job.project_id,
          job.version,
        );
      }
      return givenUp.length;
    });
  }

  /** Has some jobs tried at once, as if they had not failed: it was not their fault. */
  forgive(ids: Iterable<number>, now: number): void {
    this.#catalog.transaction(() => {
      for (const id of ids) {
        this.#sql.run(
          `update jobs set attempts = 0, due_at = min(due_at, ?) where id = ? and parked = 0`,
          now,
          id,
        );
      }
    });
  }

  /** Moves what every job waits for, in milliseconds: the clock was put. */
  moveDue(byMs: number): void {
    this.#sql.run('update jobs set due_at = due_at + ?', Math.round(byMs));
  }

  /** Lets no job wait for longer than any would: the clock was put back meanwhile. */
  clampDue(latest: number): void {
    const late = this.#sql.get('select 1 from jobs where due_at > ? limit 1', latest);
    if (late !== null) this.#sql.run('update jobs set due_at = ? where due_at > ?', latest, latest);
  }

  /** Remembers which archive is in the bucket, to be recorded. */
  setUploaded(job: Job, sha256: string): void {
    this.#sql.run('update jobs set uploaded_sha256 = ? where id = ?', sha256, job.id);
  }

  /** Remembers where a resumable upload goes on. */
  setUploadUrl(job: Job, url: string | null): void {
    this.#sql.run('update jobs set upload_url = ? where id = ?', url, job.id);
  }

  /**
   * Once a generation is deleted, only its deletion is still owed; once it is replaced, only what
   * is owed for the replacement, which waits behind.
   */
  #isObsolete(job: Job): boolean {
    if (job.kind === 'delete') return false;
    if (this.#catalog.find(job.project_id, job.version)?.state !== 'stored') return true;
    const later = this.#sql.get(
      'select 1 from jobs where project_id = ? and version = ? and id > ?',
      job.project_id,
      job.version,
      job.id,
    );
    return later !== null;
  }

  #drop(job: Job): void {
    this.#sql.run('delete from jobs where id = ?', job.id);
  }

  /** Frees what this instance holds and does not work on: writing its end down had failed. */
  freeOwn(instanceId: string, working: ReadonlySet<number>): void {
    const held = this.#sql.all<{ id: number }>(
      'select id from jobs where leased_by = ?',
      instanceId,
    );
    for (const { id } of held) {
      if (!working.has(id)) this.#sql.run('update jobs set leased_by = null where id = ?', id);
    }
  }

  /** Frees the jobs of instances that are gone. */
  freeLeases(isGone: (instanceId: string) => boolean): void {
    const holders = this.#sql.all<{ leased_by: string }>(
      'select distinct leased_by from jobs where leased_by is not null',
    );
    for (const { leased_by } of holders) {
      if (!isGone(leased_by)) continue;
      this.#sql.run('update jobs set leased_by = null where leased_by = ?', leased_by);
    }
  }

  /** What is owed, oldest first, after the given one. */
  list(afterId: number, limit: number): OwedJob[] {
    return this.#sql.all<OwedJob>(
      `select j.*, g.generation_id from jobs j
       join generations g on g.project_id = j.project_id and g.version = j.version
       where j.id > ? order by j.id limit ?`,
      afterId,
      limit,
    );
  }

  /** `since` is from when on the oldest that is not parked is owed. */
  counts(): JobCounts {
    const row = this.#sql.get<Omit<JobCounts, 'nextDueAt'>>(
      `select count(*) filter (where parked = 0) as owed,
         count(*) filter (where parked = 1) as parked,
         min(since) filter (where parked = 0) as since
       from jobs`,
    );
    const due = JOB_KINDS.flatMap((kind) => this.nextDue(kind) ?? []);
    const nextDueAt = due.length === 0 ? null : Math.min(...due);
    return { owed: 0, parked: 0, since: null, ...row, nextDueAt };
  }
}
