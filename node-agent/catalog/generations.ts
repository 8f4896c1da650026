import type { SQLInputValue } from 'node:sqlite';
import type { Ref } from '../contract.ts';
import type { Database } from './database.ts';
import {
  contentName,
  type GenerationRow,
  type Position,
  type StoredFacts,
} from './generation-row.ts';

/** Rows that are read at once where there may be many. */
export const PAGE_ROWS = 100;

/** Before the first generation of all. */
export const BEFORE_ALL: Position = { projectId: '', version: 0 };

/** What may change of a generation. */
export type Changes = Partial<Omit<GenerationRow, 'project_id' | 'version' | 'generation_id'>>;

/** The table of generations. */
export class Generations {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  find(projectId: string, version: number): GenerationRow | null {
    return this.#db.get<GenerationRow>(
      'select * from generations where project_id = ? and version = ?',
      projectId,
      version,
    );
  }

  /** The latest version under a generation id. */
  findLatest(projectId: string, generationId: string): GenerationRow | null {
    return this.#db.get<GenerationRow>(
      `select * from generations indexed by generations_by_id
       where project_id = ? and generation_id = ? order by version desc limit 1`,
      projectId,
      generationId,
    );
  }

  /** The highest version of a project, also of what is deleted or being saved; 0 where there is none. */
  highestVersion(projectId: string): number {
    const sql = 'select max(version) as version from generations where project_id = ?';
    return this.#db.get<{ version: number | null }>(sql, projectId)?.version ?? 0;
  }

  /** The versions of a project that were deleted. */
  deletedOf(projectId: string): number[] {
    const sql = `select version from generations where project_id = ? and state = 'deleted'`;
    return this.#db.all<{ version: number }>(sql, projectId).map(({ version }) => version);
  }

  /** Takes the place of a save. */
  insertSaving(
    ref: Ref,
    given: Pick<GenerationRow, 'instance_id' | 'created_at' | 'provisional'>,
  ): void {
    this.#db.run(
      `insert into generations (project_id, version, generation_id, state, instance_id, created_at,
         provisional)
       values (?, ?, ?, 'saving', ?, ?, ?)`,
      ref.projectId,
      ref.version,
      ref.generationId,
      given.instance_id,
      given.created_at,
      given.provisional,
    );
  }

  /** Notes what lies in place. What is known of its way to the cloud stays. */
  putStored(ref: Ref, facts: StoredFacts, createdAt: string): void {
    this.#db.run(
      `insert into generations (project_id, version, generation_id, state, created_at, digest,
         sha256, md5, archive_bytes, source_bytes, file_count, owner_id, is_replacement)
       values (?, ?, ?, 'stored', ?, ?, ?, ?, ?, ?, ?, ?, ?)
       on conflict (project_id, version) do update set state = 'stored', instance_id = null,
         digest = excluded.digest, sha256 = excluded.sha256, md5 = excluded.md5,
         archive_bytes = excluded.archive_bytes, source_bytes = excluded.source_bytes,
         file_count = excluded.file_count, created_at = excluded.created_at,
         owner_id = excluded.owner_id, is_replacement = excluded.is_replacement`,
      ref.projectId,
      ref.version,
      ref.generationId,
      createdAt,
      facts.digest,
      facts.sha256,
      facts.md5,
      facts.archiveBytes,
      facts.sourceBytes,
      facts.fileCount,
      facts.ownerId,
      facts.isReplacement ? 1 : 0,
    );
  }

  /** Notes a deletion. Of what is known already its digests stay. */
  putDeleted(ref: Ref, at: string, digests: readonly string[]): void {
    this.#db.run(
      `insert into generations (project_id, version, generation_id, state, created_at, digest,
         replaced_digest)
       values (?, ?, ?, 'deleted', ?, ?, ?)
       on conflict (project_id, version) do update set state = 'deleted', instance_id = null`,
      ref.projectId,
      ref.version,
      ref.generationId,
      at,
      digests[0] ?? null,
      digests[1] ?? null,
    );
  }

  /**
   * @param digest of the content that it is said of: other content may have taken its place, and
   *   nothing is changed then; left out: whatever it is
   */
  update(ref: Pick<Ref, 'projectId' | 'version'>, changes: Changes, digest?: string | null): void {
    const names = Object.keys(changes);
    const isThis = digest === undefined ? '' : ' and digest is ?';
    this.#db.run(
      `update generations set ${names.map((name) => `${name} = ?`).join(', ')}
       where project_id = ? and version = ?${isThis}`,
      ...(Object.values(changes) as SQLInputValue[]),
      ref.projectId,
      ref.version,
      ...(digest === undefined ? [] : [digest]),
    );
  }

  remove(ref: Ref): void {
    this.#db.run(
      'delete from generations where project_id = ? and version = ? and generation_id = ?',
      ref.projectId,
      ref.version,
      ref.generationId,
    );
  }

  /** Notes which epoch of the database a generation was followed to; an earlier one changes nothing. */
  setCloudEpoch(ref: Pick<Ref, 'projectId' | 'version'>, epoch: number): void {
    this.#db.run(
      'update generations set cloud_epoch = ?1 where project_id = ?2 and version = ?3 and cloud_epoch < ?1',
      epoch,
      ref.projectId,
      ref.version,
    );
  }

  /** Of a database that knows less, none was followed. */
  dropCloudEpochs(): void {
    this.#db.run('update generations set cloud_epoch = 0 where cloud_epoch > 0');
  }

  /** Forgets which other owners were named with saves of a project: whose it is was decided. */
  dropNamedOwners(projectId: string): void {
    this.#db.run('update generations set owner_id = null where project_id = ?', projectId);
  }

  /** Saves that are under way, also of instances that ended. */
  saving(): GenerationRow[] {
    return this.#db.all<GenerationRow>(
      `select * from generations indexed by generations_saving where state = 'saving'`,
    );
  }

  /** Stored and deleted ones that an instance has locked. */
  locked(): GenerationRow[] {
    return this.#db.all<GenerationRow>(
      `select * from generations indexed by generations_locked
       where instance_id is not null and state <> 'saving'`,
    );
  }

  /** Those whose archive is not made yet of what a save laid down. @param skip names of content: {@link contentName} */
  unsettled(limit: number, skip: ReadonlySet<string>): GenerationRow[] {
    const rows = this.#db.all<GenerationRow>(
      `select * from generations indexed by generations_unsettled
       where sha256 is null and digest is not null and state = 'stored'
       order by project_id, version limit ?`,
      limit + skip.size,
    );
    return rows.filter((row) => !skip.has(contentName(row))).slice(0, limit);
  }

  /**
   * Those in place, by project and version. Read a page at a time: they may change meanwhile.
   *
   * @param only one project; `null`: all
   * @param after where to begin
   */
  *stored(only: string | null, after: Position = BEFORE_ALL): Generator<GenerationRow> {
    if (only === null) yield* this.#pages(`state = 'stored'`, after);
    else yield* this.#pagesOf(only, `state = 'stored'`, after);
  }

  /**
   * Those that may be taken out of the store: their bytes are proven to be in the cloud.
   *
   * @param before ISO 8601: those that were saved before
   */
  *evictable(before: string): Generator<GenerationRow> {
    yield* this.#pages(
      `state = 'stored' and status = 'verified' and digest is not null
         and julianday(created_at) < julianday(?)`,
      BEFORE_ALL,
      before,
    );
  }

  /** A page of what the cloud is to have, or to have deleted. @param only one project; `null`: all */
  pageForCloud(only: string | null, after: Position): GenerationRow[] {
    return this.#db.all<GenerationRow>(
      `select * from generations
       where (project_id, version) > (?, ?) and (? is null or project_id = ?)
         and (state = 'deleted' or (state = 'stored' and digest is not null))
       order by project_id, version limit ${PAGE_ROWS}`,
      after.projectId,
      after.version,
      only,
      only,
    );
  }

  *#pages(condition: string, after: Position, ...values: string[]): Generator<GenerationRow> {
    for (let { projectId, version } = after; ; ) {
      const rows = this.#db.all<GenerationRow>(
        `select * from generations not indexed
         where (project_id, version) > (?, ?) and ${condition}
         order by project_id, version limit ${PAGE_ROWS}`,
        projectId,
        version,
        ...values,
      );
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined) return;
      ({ project_id: projectId, version } = last);
    }
  }

  /** Of one project: a page begins where the last one ended, and reads nothing before it. */
  *#pagesOf(projectId: string, condition: string, after = BEFORE_ALL): Generator<GenerationRow> {
    for (let version = after.projectId === projectId ? after.version : 0; ; ) {
      const rows = this.#db.all<GenerationRow>(
        `select * from generations not indexed where project_id = ? and version > ? and ${condition}
         order by version limit ${PAGE_ROWS}`,
        projectId,
        version,
      );
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined) return;
      version = last.version;
    }
  }

  /** Those of a project that are in place, newest version first, below `before`. */
  list(projectId: string, before: number, limit: number): GenerationRow[] {
    return this.#db.all<GenerationRow>(
      `select * from generations where project_id = ? and version < ? and state = 'stored'
       order by version desc limit ?`,
      projectId,
      before,
      limit,
    );
  }

  /** Bytes of the archives of those in place, by status; of what is not packed yet those of its files. */
  bytesByStatus(): [GenerationRow['status'], number][] {
    return this.#db
      .all<{ status: GenerationRow['status']; bytes: number }>(
        `select status, sum(coalesce(archive_bytes, source_bytes, 0)) as bytes
         from generations where state = 'stored' group by status`,
      )
      .map(({ status, bytes }) => [status, bytes]);
  }

  /** Those in place, by status; `local` are those that nothing is owed for. */
  countByStatus(): Record<string, number> {
    const count = (indexed: string) =>
      this.#db.all<{ status: string; count: number }>(
        `select status, count(*) as count from generations indexed by ${indexed} group by status`,
      );
    const counts: Record<string, number> = {};
    for (const { status, count: all } of count(`generations_counted where state = 'stored'`)) {
      counts[status] = all;
    }
    // Of the Python system, and not migrated: they are on no way to the cloud.
    for (const old of count(`generations_old where state = 'stored' and digest is null`)) {
      counts[old.status] = (counts[old.status] ?? 0) - old.count;
      counts.local = (counts.local ?? 0) + old.count;
    }
    return counts;
  }
}
