import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  foldId,
  formatRef,
  MAX_VERSION,
  objectKey,
  type Ref,
  type Status,
  StorageError,
} from '../contract.ts';
import { openPrivate } from './open-private.ts';

/**
 * Which generations there are and what work is owed for them: an index of the disk, which can be
 * made again from it. Several processes may have it open.
 */
const SCHEMA = `
  create table projects (
    id text primary key,
    folded text not null unique,
    owner_id text,
    -- the highest version that the cloud is known to have
    cloud_version integer not null default 0,
    -- whether the cloud was asked for it
    looked_up integer not null default 0
  ) strict, without rowid;

  create table generations (
    project_id text not null references projects (id),
    version integer not null,
    generation_id text not null,
    -- saving: promised, not yet in place; stored: in place; deleted: a tombstone is left
    state text not null check (state in ('saving', 'stored', 'deleted')),
    -- which instance is saving it, or changing it where it is stored
    instance_id text,
    -- how far it is on its way to the cloud
    status text not null default 'pending'
      check (status in ('pending', 'uploaded', 'verified', 'failed')),
    failure text,
    digest text,
    sha256 text,
    md5 text,
    archive_bytes integer,
    source_bytes integer,
    file_count integer,
    created_at text not null,
    uploaded_at text,
    -- whether the tree lasts by itself; until then the archive vouches for it
    tree_synced integer not null default 0,
    -- whether the archive is still there; it goes once the tree lasts and the cloud has its bytes
    archive_kept integer not null default 1,
    -- the owner that was named with the save
    owner_id text,
    -- whether it took the place of other content
    is_replacement integer not null default 0,
    -- that the cloud gave; until then the key follows from the ref
    object_key text,
    -- what the cloud had when this took its place, until this is there
    replaced_digest text,
    -- what the cloud has under this name, where that is other content of another host
    cloud_digest text,
    -- whether the version was chosen here without the cloud being asked
    provisional integer not null default 0,
    primary key (project_id, version)
  ) strict, without rowid;
  create index generations_by_id on generations (project_id, generation_id);
  create index generations_counted on generations (status) where state = 'stored';
  -- Each of what is mostly few or none. Queries name them: SQLite would rather read all that is
  -- stored, of which there are many.
  create index generations_old on generations (status) where state = 'stored' and digest is null;
  create index generations_saving on generations (project_id, version) where state = 'saving';
  create index generations_locked on generations (project_id, version) where instance_id is not null;
  create index generations_unsynced on generations (project_id, version)
    where tree_synced = 0 and state = 'stored';
  create index generations_retirable on generations (project_id, version)
    where archive_kept = 1 and tree_synced = 1 and status = 'verified' and state = 'stored';

  create table meta (key text primary key, value text not null) strict, without rowid;

  create table jobs (
    id integer primary key,
    project_id text not null,
    version integer not null,
    kind text not null check (kind in ('reserve', 'upload', 'record', 'verify', 'fail', 'delete')),
    -- from when on it is owed
    since integer not null,
    attempts integer not null default 0,
    due_at integer not null,
    -- the instance that works on it
    leased_by text,
    parked integer not null default 0,
    failure text,
    -- where a resumable upload goes on
    upload_url text,
    -- the archive that is in the bucket and to be recorded
    uploaded_sha256 text,
    -- how often it had to go back to an earlier step
    setbacks integer not null default 0,
    -- the step at which it was given up
    given_up_at text
  ) strict;
  create index jobs_of_ref on jobs (project_id, version, id);
  create index jobs_due on jobs (kind, parked, leased_by, due_at);
  create index jobs_leased on jobs (leased_by) where leased_by is not null;
`;

const SCHEMA_VERSION = 6;

/** Rows that are read at once where there may be many. */
const PAGE_ROWS = 100;

/**
 * How long a statement waits for another process, in milliseconds: no longer than the event loop
 * may stand still. What writes waits elsewhere, in {@link Catalog.write}.
 */
const BUSY_MS = 5;
/** How long {@link Catalog.write} waits for another process, in milliseconds. */
const WRITE_WAIT_MS = 10_000;
const WRITE_POLL_MS = 20;

export type GenerationRow = Readonly<{
  project_id: string;
  version: number;
  generation_id: string;
  state: 'saving' | 'stored' | 'deleted';
  instance_id: string | null;
  status: 'pending' | 'uploaded' | 'verified' | 'failed';
  failure: string | null;
  digest: string | null;
  sha256: string | null;
  md5: string | null;
  archive_bytes: number | null;
  source_bytes: number | null;
  file_count: number | null;
  created_at: string;
  uploaded_at: string | null;
  owner_id: string | null;
  tree_synced: 0 | 1;
  is_replacement: 0 | 1;
  object_key: string | null;
  replaced_digest: string | null;
  cloud_digest: string | null;
  /** Whether its version was chosen here and not reserved yet: 2 where the cloud was not asked. */
  provisional: 0 | 1 | 2;
}>;

/** What is known of a generation once it is in place. */
export type StoredFacts = Readonly<{
  digest: string | null;
  sha256: string | null;
  md5: string | null;
  archiveBytes: number | null;
  sourceBytes: number;
  fileCount: number;
  ownerId: string | null;
  /** Whether it took the place of other content. */
  isReplacement: boolean;
}>;

/** Between two generations, by project and version. */
export type Position = Readonly<{ projectId: string; version: number }>;

const BEFORE_ALL: Position = { projectId: '', version: 0 };

export type SavePlace =
  | Readonly<{ kind: 'new'; ref: Ref }>
  | Readonly<{ kind: 'stored'; row: GenerationRow }>
  | Readonly<{ kind: 'saving'; row: GenerationRow }>;

export class Catalog {
  /** Set once SQLite found damage: the next start has to look for it. */
  isDamaged = false;
  readonly #path: string;
  readonly #inode: number;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Those that wait until others let go, one after another. */
  #line: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isFree = false;

  /** @throws StorageError `corrupt` where it is damaged, or of an older version of ours */
  constructor(path: string) {
    this.#path = path;
    this.#db = openPrivate(path);
    this.#inode = statSync(path).ino;
    try {
      this.#db.exec(
        `pragma busy_timeout = ${BUSY_MS}; pragma journal_mode = wal; pragma synchronous = normal`,
      );
      this.transaction(() => {
        this.#makeSchema(path);
        void this.hostId;
      });
    } catch (error) {
      this.#db.close();
      throw fromSqlite(error);
    }
  }

  #makeSchema(path: string): void {
    const version = this.#get<{ user_version: number }>('pragma user_version')?.user_version ?? 0;
    if (version === SCHEMA_VERSION) return;
    if (version === 0) {
      this.#db.exec(`${SCHEMA} pragma user_version = ${SCHEMA_VERSION};`);
      return;
    }
    // What an older version of ours knew is on disk too.
    const code = version < SCHEMA_VERSION ? 'corrupt' : 'internal';
    throw new StorageError(
      code,
      `Cannot open "${path}": it is of schema ${version}, this version of codebegen-storage knows ${SCHEMA_VERSION}`,
    );
  }

  /** Looks at every page. @throws StorageError `corrupt` */
  check(): void {
    const found = this.#get<{ quick_check: string }>('pragma quick_check(1)')?.quick_check;
    if (found !== 'ok') throw new StorageError('corrupt', `The catalog is damaged: ${found}`);
  }

  close(): void {
    this.#db.close();
  }

  /** Whether its file is still where it was opened: what is written to one that was removed is lost. */
  get isInPlace(): boolean {
    return statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  /** Runs all of it or nothing, alone among all processes; within another, as a part of that. */
  transaction<T>(work: () => T): T {
    if (this.#db.isTransaction) return work();
    try {
      this.#db.exec('begin immediate');
      const result = work();
      this.#db.exec('commit');
      return result;
    } catch (error) {
      // A full disk rolls back by itself.
      if (this.#db.isTransaction) this.#db.exec('rollback');
      throw this.#translate(error);
    }
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
    this.#db.exec('pragma synchronous = full');
    try {
      return this.transaction(work);
    } finally {
      this.#db.exec('pragma synchronous = normal');
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
    const known = fromSqlite(error);
    this.isDamaged ||= known instanceof StorageError && known.code === 'corrupt';
    return known;
  }

  // Saving --------------------------------------------------------------------------------------

  /**
   * Takes the place of a save, or tells who has it.
   *
   * A version that is left out is that of the generation id where it is known, else the next free one.
   *
   * @param above the next one is higher than this
   * @throws StorageError `conflict`
   */
  beginSave(
    want: { projectId: string; version: number | null; generationId: string | null },
    instanceId: string,
    makeId: () => string,
    createdAt: string,
    above = 0,
  ): SavePlace {
    return this.transaction(() => {
      const { projectId } = want;
      const provisional = want.version !== null ? 0 : this.isLookedUp(projectId) ? 1 : 2;
      this.ensureProject(projectId);
      const row = this.#findPlace(want);
      if (row !== null) {
        const taken = want.generationId !== null && row.generation_id !== want.generationId;
        if (taken) throw refuse(row, `the version is held by generation "${row.generation_id}"`);
        if (row.state === 'deleted') throw refuse(row, 'it was deleted');
        // A stored one that an instance holds is being replaced.
        return { kind: row.instance_id === null ? row.state : 'saving', row };
      }
      const version = want.version ?? this.nextVersion(projectId, above);
      const ref = { projectId, version, generationId: want.generationId ?? makeId() };
      this.#run(
        `insert into generations (project_id, version, generation_id, state, instance_id, created_at,
           provisional)
         values (?, ?, ?, 'saving', ?, ?, ?)`,
        projectId,
        version,
        ref.generationId,
        instanceId,
        createdAt,
        provisional,
      );
      return { kind: 'new', ref };
    });
  }

  #findPlace(want: { projectId: string; version: number | null; generationId: string | null }) {
    if (want.version !== null) return this.find(want.projectId, want.version);
    if (want.generationId === null) return null;
    return this.findGeneration(want.projectId, want.generationId);
  }

  /** The latest version under a generation id. */
  findGeneration(projectId: string, generationId: string): GenerationRow | null {
    return this.#get<GenerationRow>(
      `select * from generations indexed by generations_by_id
       where project_id = ? and generation_id = ? order by version desc limit 1`,
      projectId,
      generationId,
    );
  }

  /** The next version that is free, here and as far as is known in the cloud. */
  nextVersion(projectId: string, above = 0): number {
    const next = this.#get<{ version: number }>(
      `select max(coalesce(max(version), 0), ?,
         (select cloud_version from projects where id = ?)) + 1 as version
       from generations where project_id = ?`,
      above,
      projectId,
      projectId,
    )!.version;
    if (next > MAX_VERSION) {
      throw new StorageError('conflict', `Cannot save into "${projectId}": it has no free version`);
    }
    return next;
  }

  /**
   * Notes that a generation is in place, and what is owed for it: nothing for one of the Python
   * system, which has no digest, until it is migrated. May be repeated.
   *
   * @param isThere asked while no other process can write here: where it is not, nothing is noted
   */
  finishSave(
    ref: Ref,
    facts: StoredFacts,
    createdAt: string,
    now: number,
    isThere: () => boolean = () => true,
  ): void {
    this.transaction(() => {
      if (!isThere()) return;
      this.#checkHolder(ref);
      this.ensureProject(ref.projectId);
      this.#run(
        `insert into generations (project_id, version, generation_id, state, created_at, digest,
           sha256, md5, archive_bytes, source_bytes, file_count, owner_id, is_replacement)
         values (?, ?, ?, 'stored', ?, ?, ?, ?, ?, ?, ?, ?, ?)
         on conflict (project_id, version) do update set state = 'stored', instance_id = null,
           digest = excluded.digest, sha256 = excluded.sha256, md5 = excluded.md5,
           archive_bytes = excluded.archive_bytes, source_bytes = excluded.source_bytes,
           file_count = excluded.file_count, created_at = excluded.created_at,
           owner_id = excluded.owner_id, is_replacement = excluded.is_replacement, tree_synced = 0,
           archive_kept = 1`,
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
      if (facts.digest !== null) this.#owe(ref, 'reserve', now);
    });
  }

  /** Two generations under one version must not be mixed up, whatever lies on disk. */
  #checkHolder(ref: Ref): void {
    const row = this.find(ref.projectId, ref.version);
    if (row !== null && row.generation_id !== ref.generationId) {
      throw new StorageError(
        'conflict',
        `Cannot adopt ${formatRef(ref)} ${ref.generationId}: the version is held by generation "${row.generation_id}"`,
      );
    }
  }

  /** Locks a stored generation, to change what is on disk; false where another instance does. */
  lock(ref: Ref, instanceId: string): boolean {
    return this.transaction(() => {
      const row = this.find(ref.projectId, ref.version);
      if (row?.state !== 'stored' || row.instance_id !== null) return false;
      this.#run(
        'update generations set instance_id = ? where project_id = ? and version = ?',
        instanceId,
        ref.projectId,
        ref.version,
      );
      return true;
    });
  }

  /** Gives a generation back that was locked. */
  unlock(ref: Ref): void {
    this.#run(
      'update generations set instance_id = null where project_id = ? and version = ?',
      ref.projectId,
      ref.version,
    );
  }

  /**
   * Notes that other content is in place, and owes its way to the cloud from the start. It has to
   * last before the journal goes: after a power loss nothing else tells that the row is of the old
   * one.
   */
  finishReplace(ref: Ref, facts: StoredFacts, createdAt: string, now: number): void {
    this.transaction(() => {
      this.#run(
        `update generations set instance_id = null, status = 'pending', failure = null,
           replaced_digest = case when uploaded_at is null and replaced_digest is not null
             then replaced_digest else digest end,
           digest = ?, sha256 = ?, md5 = ?, archive_bytes = ?, source_bytes = ?, file_count = ?,
           created_at = ?, uploaded_at = null, object_key = null, is_replacement = 1,
           cloud_digest = null, owner_id = coalesce(?, owner_id), tree_synced = 0, archive_kept = 1
         where project_id = ? and version = ?`,
        facts.digest,
        facts.sha256,
        facts.md5,
        facts.archiveBytes,
        facts.sourceBytes,
        facts.fileCount,
        createdAt,
        facts.ownerId,
        ref.projectId,
        ref.version,
      );
      this.#dropJobs(ref);
      // Also beside one that is under way for what was there before: it runs after that.
      this.#run(
        `insert into jobs (project_id, version, kind, since, due_at)
         values (?, ?, 'reserve', ?, ?)`,
        ref.projectId,
        ref.version,
        now,
        now,
      );
    });
  }

  #dropJobs(ref: Ref): void {
    this.#run(
      'delete from jobs where project_id = ? and version = ? and leased_by is null',
      ref.projectId,
      ref.version,
    );
  }

  /** Gives the place of a save back that did not come to be. */
  abortSave(ref: Ref): void {
    this.#run(
      `delete from generations where project_id = ? and version = ? and state = 'saving'`,
      ref.projectId,
      ref.version,
    );
    // A project that holds nothing keeps its name from nobody.
    this.#run(
      `delete from projects where id = ? and owner_id is null
         and not exists (select 1 from generations g where g.project_id = projects.id)`,
      ref.projectId,
    );
  }

  /** Saves that were under way when their instance ended. */
  unfinishedSaves(): GenerationRow[] {
    return this.#all<GenerationRow>(
      `select * from generations indexed by generations_saving where state = 'saving'`,
    );
  }

  /** Stored generations that an instance has locked. */
  lockedGenerations(): GenerationRow[] {
    return this.#all<GenerationRow>(
      `select * from generations indexed by generations_locked
       where instance_id is not null and state = 'stored'`,
    );
  }

  /** @throws StorageError `conflict` where another project has this id in other case */
  ensureProject(projectId: string): void {
    const known = this.#get<{ id: string }>(
      'select id from projects where folded = ?',
      foldId(projectId),
    );
    if (known === null) {
      this.#run('insert into projects (id, folded) values (?, ?)', projectId, foldId(projectId));
    } else if (known.id !== projectId) {
      throw new StorageError(
        'conflict',
        `Cannot use project "${projectId}": there is "${known.id}", which differs only in case`,
      );
    }
  }

  hasProject(projectId: string): boolean {
    return this.#get('select 1 from projects where id = ?', projectId) !== null;
  }

  ownerOf(projectId: string): string | null {
    return (
      this.#get<{ owner_id: string | null }>(
        'select owner_id from projects where id = ?',
        projectId,
      )?.owner_id ?? null
    );
  }

  setOwner(projectId: string, ownerId: string): void {
    this.#run('update projects set owner_id = ? where id = ?', ownerId, projectId);
  }

  /** Forgets which other owners were named with saves of a project: whose it is was decided. */
  dropNamedOwners(projectId: string): void {
    this.#run('update generations set owner_id = null where project_id = ?', projectId);
  }

  /** Whether it is known which versions the cloud has of a project. */
  isLookedUp(projectId: string): boolean {
    return (
      this.#get<{ looked_up: 0 | 1 }>('select looked_up from projects where id = ?', projectId)
        ?.looked_up === 1
    );
  }

  /**
   * Notes which version is the highest that the cloud has.
   *
   * @param isLookedUp whether the cloud was asked; else it may have higher ones
   */
  setCloudVersion(projectId: string, version: number, isLookedUp: boolean): void {
    this.transaction(() => {
      this.ensureProject(projectId);
      this.#run(
        `update projects set cloud_version = max(cloud_version, ?), looked_up = max(looked_up, ?)
         where id = ?`,
        version,
        isLookedUp ? 1 : 0,
        projectId,
      );
    });
  }

  // What the disk is known to hold --------------------------------------------------------------

  /** In which run of the machine the whole disk was read into the catalog; `null`: in none. */
  get scannedBoot(): string | null {
    return this.#meta('scanned_boot');
  }

  setScannedBoot(bootId: string): void {
    this.#setMeta('scanned_boot', bootId);
  }

  /** Up to where changes in the cloud are known; `null` at first. */
  get changesSeen(): string | null {
    return this.#meta('changes_seen');
  }

  setChangesSeen(changedAt: string | null): void {
    if (changedAt === null) this.#run(`delete from meta where key = 'changes_seen'`);
    else this.#setMeta('changes_seen', changedAt);
  }

  /** Under which id this store is known to the cloud. */
  get hostId(): string {
    const known = this.#meta('host_id');
    if (known !== null) return known;
    // Of several processes that ask at once, one is heard.
    this.#run('insert or ignore into meta (key, value) values (?, ?)', 'host_id', randomUUID());
    return this.#meta('host_id')!;
  }

  /** How often this store checked in with the cloud. */
  get checkIns(): number {
    return Number(this.#meta('check_ins') ?? 0);
  }

  setCheckIns(count: number): void {
    this.#setMeta('check_ins', String(count));
  }

  /** What the cloud was last known to have, and to have deleted: a database that knows less is older. */
  witnesses(): { ref: Ref; isDeleted: boolean }[] {
    return ['witness_stored', 'witness_deleted'].flatMap((key) => {
      const text = this.#meta(key);
      return text === null
        ? []
        : [{ ref: JSON.parse(text) as Ref, isDeleted: key === 'witness_deleted' }];
    });
  }

  setWitness(ref: Ref, isDeleted: boolean): void {
    this.#setMeta(isDeleted ? 'witness_deleted' : 'witness_stored', JSON.stringify(ref));
  }

  dropWitnesses(): void {
    this.#run(`delete from meta where key in ('witness_stored', 'witness_deleted')`);
  }

  #meta(key: string): string | null {
    const row = this.#get<{ value: string }>('select value from meta where key = ?', key);
    return row?.value ?? null;
  }

  #setMeta(key: string, value: string): void {
    this.#run('insert or replace into meta (key, value) values (?, ?)', key, value);
  }

  /** Generations whose tree does not last by itself yet. */
  unsynced(limit: number, skip: ReadonlySet<string>): GenerationRow[] {
    return this.#page(
      `generations_unsynced where tree_synced = 0 and state = 'stored'`,
      limit,
      skip,
    );
  }

  /** Those of one project. */
  unsyncedOf(projectId: string): GenerationRow[] {
    return this.#all<GenerationRow>(
      `select * from generations where project_id = ? and tree_synced = 0 and state = 'stored'`,
      projectId,
    );
  }

  /** @param digest of the content that was synced: another may have taken its place */
  setTreeSynced(ref: Ref, digest: string | null): void {
    this.#run(
      `update generations set tree_synced = 1
       where project_id = ? and version = ? and digest is ?`,
      ref.projectId,
      ref.version,
      digest,
    );
  }

  /** Generations whose archive is needed no more: the tree lasts, and the cloud has its bytes. */
  retirable(limit: number, skip: ReadonlySet<string>): GenerationRow[] {
    return this.#page(
      `generations_retirable
       where archive_kept = 1 and tree_synced = 1 and status = 'verified' and state = 'stored'`,
      limit,
      skip,
    );
  }

  setArchiveKept(ref: Ref, kept: boolean): void {
    this.#run(
      'update generations set archive_kept = ? where project_id = ? and version = ?',
      kept ? 1 : 0,
      ref.projectId,
      ref.version,
    );
  }

  /** @param indexed names an index, and what it holds */
  #page(indexed: string, limit: number, skip: ReadonlySet<string>) {
    const rows = this.#all<GenerationRow>(
      `select * from generations indexed by ${indexed} order by project_id, version limit ?`,
      limit + skip.size,
    );
    return rows.filter((row) => !skip.has(contentName(row))).slice(0, limit);
  }

  // Reading -------------------------------------------------------------------------------------

  find(projectId: string, version: number): GenerationRow | null {
    return this.#get<GenerationRow>(
      'select * from generations where project_id = ? and version = ?',
      projectId,
      version,
    );
  }

  /**
   * Generations in place, by project and version. Read a page at a time: they may change meanwhile.
   *
   * @param only one project; `null`: all
   * @param after where to begin
   */
  *stored(only: string | null, after: Position = BEFORE_ALL): Generator<GenerationRow> {
    if (only === null) yield* this.#pages(`state = 'stored'`, after);
    else yield* this.#pages(`state = 'stored' and project_id = ?`, after, only);
  }

  /**
   * Those that may be taken out of the store: their bytes are proven to be in the cloud, and nothing
   * of them is vouched for by their archive alone.
   *
   * @param before ISO 8601: those that were saved before
   */
  *evictable(before: string): Generator<GenerationRow> {
    yield* this.#pages(
      `state = 'stored' and status = 'verified' and tree_synced = 1 and digest is not null
         and julianday(created_at) < julianday(?)`,
      BEFORE_ALL,
      before,
    );
  }

  *#pages(condition: string, after: Position, ...values: string[]): Generator<GenerationRow> {
    for (let { projectId, version } = after; ; ) {
      const rows = this.#all<GenerationRow>(
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

  /** Generations of a project that are in place, newest version first, below `before`. */
  list(projectId: string, before: number, limit: number): GenerationRow[] {
    return this.#all<GenerationRow>(
      `select * from generations where project_id = ? and version < ? and state = 'stored'
       order by version desc limit ?`,
      projectId,
      before,
      limit,
    );
  }

  /** Projects by id, after the given one. */
  listProjects(after: string, limit: number) {
    return this.#all<{
      id: string;
      owner_id: string | null;
      versions: number;
      latest_version: number;
      source_bytes: number;
    }>(
      `select p.id, p.owner_id, count(*) as versions, max(g.version) as latest_version,
         coalesce(sum(g.source_bytes), 0) as source_bytes
       from projects p
         cross join generations g not indexed on g.project_id = p.id and g.state = 'stored'
       where p.id > ? group by p.id order by p.id limit ?`,
      after,
      limit,
    );
  }

  /** Those in place, by status; `local` are those that nothing is owed for. */
  countByStatus(): Record<string, number> {
    const count = (indexed: string) =>
      this.#all<{ status: string; count: number }>(
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

  // The way to the cloud ------------------------------------------------------------------------

  /** Notes what the archive is, of which a rebuilt catalog knows nothing. */
  setHashes(ref: Ref, hashes: { sha256: string; md5: string; bytes: number }): void {
    this.#run(
      `update generations set sha256 = ?, md5 = ?, archive_bytes = ?
       where project_id = ? and version = ?`,
      hashes.sha256,
      hashes.md5,
      hashes.bytes,
      ref.projectId,
      ref.version,
    );
  }

  /** Notes under which key the cloud has the content of a generation, or is to have it. */
  setObjectKey(ref: Ref, digest: string | null, key: string): void {
    this.#run(
      `update generations set object_key = ?, provisional = 0
       where project_id = ? and version = ? and digest is ?`,
      key,
      ref.projectId,
      ref.version,
      digest,
    );
  }

  /** Notes that nobody chose the version of a generation. */
  setProvisional(ref: Ref): void {
    this.#run(
      'update generations set provisional = 1 where project_id = ? and version = ?',
      ref.projectId,
      ref.version,
    );
  }

  /** Notes how far content is; other content may have taken its place. */
  setStatus(ref: Ref, digest: string | null, status: 'uploaded' | 'verified', at: string): void {
    this.transaction(() => {
      this.#run(
        `update generations set status = ?, failure = null, cloud_digest = null,
           replaced_digest = null, provisional = 0, uploaded_at = coalesce(uploaded_at, ?)
         where project_id = ? and version = ? and digest is ?`,
        status,
        at,
        ref.projectId,
        ref.version,
        digest,
      );
      this.setWitness(ref, false);
    });
  }

  /** Notes that the bucket has not what it was thought to have. */
  setPending(ref: Ref, digest: string | null): void {
    this.#run(
      `update generations set status = 'pending'
       where project_id = ? and version = ? and digest is ?`,
      ref.projectId,
      ref.version,
      digest,
    );
  }

  /** Notes that the cloud has other content under the name of this one, and why. */
  setSuperseded(ref: Ref, digest: string | null, cloudDigest: string | null, why: string): void {
    this.#run(
      `update generations set status = 'failed', failure = ?, cloud_digest = ?
       where project_id = ? and version = ? and digest is ? and state = 'stored'`,
      why,
      cloudDigest ?? 'unknown',
      ref.projectId,
      ref.version,
      digest,
    );
  }

  /** Notes that the cloud has this content again, as it seems: it is asked for. */
  setPutBack(ref: Ref, digest: string | null, now: number): void {
    this.transaction(() => {
      this.#run(
        `update generations set cloud_digest = null
         where project_id = ? and version = ? and digest is ?`,
        ref.projectId,
        ref.version,
        digest,
      );
      this.#owe(ref, 'reserve', now);
    });
  }

  /**
   * Takes over what the cloud has of a generation, of which nothing is left here.
   *
   * @param seen the digest that it had: nothing is noted where that is another, or somebody works on it
   * @returns whether it was noted
   */
  setFromCloud(
    ref: Ref,
    seen: string | null,
    facts: Readonly<{
      digest: string | null;
      sha256: string | null;
      bytes: number | null;
      key: string;
    }>,
  ): boolean {
    return this.transaction(() => {
      const row = this.find(ref.projectId, ref.version);
      const isSeen = row?.state === 'stored' && row.instance_id === null && row.digest === seen;
      if (!isSeen) return false;
      this.#run(
        `update generations set status = 'uploaded', failure = null, cloud_digest = null, digest = ?,
           sha256 = ?, md5 = null, archive_bytes = ?, object_key = ?
         where project_id = ? and version = ?`,
        facts.digest,
        facts.sha256,
        facts.bytes,
        facts.key,
        ref.projectId,
        ref.version,
      );
      return true;
    });
  }

  /** Owes a stored generation to the cloud again: what it has of it is asked for. */
  oweAgain(ref: Ref, now: number): void {
    this.#owe(ref, 'reserve', now);
  }

  /**
   * Owes everything again, some at a time: what is stored, and what was deleted.
   *
   * @param only one project; `null`: all
   * @returns where it goes on; `null` at the end
   */
  oweAllAgain(
    only: string | null,
    after: Position | null,
    now: number,
  ): { count: number; next: Position | null } {
    const { projectId, version } = after ?? BEFORE_ALL;
    return this.transaction(() => {
      const rows = this.#all<GenerationRow>(
        `select * from generations
         where (project_id, version) > (?, ?) and (? is null or project_id = ?)
           and (state = 'deleted' or (state = 'stored' and digest is not null))
         order by project_id, version limit ${PAGE_ROWS}`,
        projectId,
        version,
        only,
        only,
      );
      for (const row of rows) {
        this.#owe(refOf(row), row.state === 'deleted' ? 'delete' : 'reserve', now);
      }
      const last = rows.at(-1);
      const next =
        last === undefined ? null : { projectId: last.project_id, version: last.version };
      return { count: rows.length, next };
    });
  }

  /** Forgets a generation that is not here any more, and what was owed for it. */
  forget(ref: Ref): void {
    this.transaction(() => {
      const row = this.find(ref.projectId, ref.version);
      if (row?.generation_id !== ref.generationId) return;
      this.#run(
        'delete from jobs where project_id = ? and version = ?',
        ref.projectId,
        ref.version,
      );
      this.#run(
        'delete from generations where project_id = ? and version = ?',
        ref.projectId,
        ref.version,
      );
    });
  }

  /**
   * Marks a generation deleted and owes its deletion; what else was owed for it is dropped.
   *
   * @param digests of the content that was deleted, for a catalog that knows nothing of it
   */
  markDeleted(ref: Ref, at: string, now: number, digests: readonly string[] = []): void {
    this.transaction(() => {
      this.#checkHolder(ref);
      this.ensureProject(ref.projectId);
      this.#run(
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
      this.#dropJobs(ref);
      this.#owe(ref, 'delete', now);
    });
  }

  #owe(ref: Ref, kind: string, now: number): void {
    // What was given up before is no reason not to ask again.
    this.#run(
      'delete from jobs where project_id = ? and version = ? and parked = 1',
      ref.projectId,
      ref.version,
    );
    this.#run(
      `insert into jobs (project_id, version, kind, since, due_at)
       select ?, ?, ?, ?, ? where not exists (
         select 1 from jobs where project_id = ? and version = ?
           and (kind = 'delete' or ? <> 'delete')
       )`,
      ref.projectId,
      ref.version,
      kind,
      now,
      now,
      ref.projectId,
      ref.version,
      kind,
    );
  }

  /** For the jobs, which live in the same database and change with it. */
  get sql(): Sql {
    return {
      get: (sql, ...values) => this.#get(sql, ...values),
      all: (sql, ...values) => this.#all(sql, ...values),
      run: (sql, ...values) => this.#run(sql, ...values),
    };
  }

  #get<T>(sql: string, ...values: SQLInputValue[]): T | null {
    return this.#translated(() => (this.#prepare(sql).get(...values) as T | undefined) ?? null);
  }

  #all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#translated(() => this.#prepare(sql).all(...values) as T[]);
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
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

export type Sql = {
  get<T>(sql: string, ...values: SQLInputValue[]): T | null;
  all<T>(sql: string, ...values: SQLInputValue[]): T[];
  run(sql: string, ...values: SQLInputValue[]): void;
};

/** Names a generation and what it holds: a replacement is another. */
export function contentName(row: GenerationRow): string {
  return `${formatRef(refOf(row))} ${row.digest}`;
}

/** The key of a row's archive in the bucket; until the cloud gave one, that which it mostly gives. */
export function keyOf(row: GenerationRow): string {
  return row.object_key ?? objectKey(refOf(row));
}

/**
 * How far a generation is, for whoever asks.
 *
 * @param isCloudOn whether what is saved is on its way to the cloud
 */
export function statusOf(row: GenerationRow, isCloudOn: boolean): Status {
  if (row.state === 'deleted') return 'deleted';
  // Of the Python system, and not migrated: nothing is owed for it.
  const stays = !isCloudOn || row.digest === null;
  return row.status === 'pending' && stays ? 'local' : row.status;
}

/** The ref of a row. */
export function refOf(row: Pick<GenerationRow, 'project_id' | 'version' | 'generation_id'>): Ref {
  return { projectId: row.project_id, version: row.version, generationId: row.generation_id };
}

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

/** The low byte is the code, the rest says more. */
function sqliteCode(error: unknown): number {
  return ((error as { errcode?: number } | null)?.errcode ?? 0) & 0xff;
}

/** Whether others keep the catalog busy. */
export function isBusy(error: unknown): boolean {
  return error instanceof StorageError && sqliteCode(error.cause) === SQLITE_BUSY;
}

/** Translates what SQLite says, once, where it enters. */
function fromSqlite(error: unknown): unknown {
  if (error instanceof StorageError) return error;
  const code = sqliteCode(error);
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    return new StorageError(
      'corrupt',
      'Cannot use the catalog: it is damaged. The next start makes it again from the disk',
      { cause: error },
    );
  }
  if (code === SQLITE_FULL) {
    return new StorageError('disk_full', 'Cannot write the catalog: the disk is full', {
      cause: error,
    });
  }
  if (code === SQLITE_BUSY) {
    return new StorageError('unavailable', 'Cannot write the catalog: others keep it busy', {
      cause: error,
    });
  }
  return error;
}

function refuse(row: GenerationRow, state: string): StorageError {
  return new StorageError('conflict', `Cannot save ${formatRef(refOf(row))}: ${state}`);
}
