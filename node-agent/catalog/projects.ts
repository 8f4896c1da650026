import { foldId, StorageError } from '../contract.ts';
import type { Database } from './database.ts';

/** A project, and what this host has of it. Sizes are bytes. */
export type ProjectRow = Readonly<{
  id: string;
  owner_id: string | null;
  versions: number;
  latest_version: number;
  source_bytes: number;
}>;

/** The table of projects. */
export class Projects {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Makes a project where it is not there. @throws StorageError `conflict` where another one has this id in other case */
  ensure(projectId: string): void {
    const folded = foldId(projectId);
    const known = this.#db.get<{ id: string }>('select id from projects where folded = ?', folded);
    if (known === null) {
      this.#db.run('insert into projects (id, folded) values (?, ?)', projectId, folded);
    } else if (known.id !== projectId) {
      throw new StorageError(
        'conflict',
        `Cannot use project "${projectId}": there is "${known.id}", which differs only in case`,
      );
    }
  }

  has(projectId: string): boolean {
    return this.#db.get('select 1 from projects where id = ?', projectId) !== null;
  }

  /** Forgets a project that holds nothing, and is nobody's: it keeps its name from no other. */
  removeEmpty(projectId: string): void {
    this.#db.run(
      `delete from projects where id = ? and owner_id is null
         and not exists (select 1 from generations g where g.project_id = projects.id)`,
      projectId,
    );
  }

  ownerOf(projectId: string): string | null {
    const sql = 'select owner_id from projects where id = ?';
    return this.#db.get<{ owner_id: string | null }>(sql, projectId)?.owner_id ?? null;
  }

  setOwner(projectId: string, ownerId: string): void {
    this.#db.run('update projects set owner_id = ? where id = ?', ownerId, projectId);
  }

  /** What the folders of a project looked like when all that lies in them was known; `null`: never. */
  listedOf(projectId: string): string | null {
    const sql = 'select listed from projects where id = ?';
    return this.#db.get<{ listed: string | null }>(sql, projectId)?.listed ?? null;
  }

  setListed(projectId: string, stamp: string): void {
    this.#db.run('update projects set listed = ? where id = ?', stamp, projectId);
  }

  /** Whether it is known which versions the cloud has of a project. */
  isLookedUp(projectId: string): boolean {
    const sql = 'select looked_up from projects where id = ?';
    return this.#db.get<{ looked_up: 0 | 1 }>(sql, projectId)?.looked_up === 1;
  }

  /** The highest version that the cloud is known to have; 0 where none is known. */
  cloudVersionOf(projectId: string): number {
    const sql = 'select cloud_version from projects where id = ?';
    return this.#db.get<{ cloud_version: number }>(sql, projectId)?.cloud_version ?? 0;
  }

  /**
   * Notes which version is the highest that the cloud has.
   *
   * @param isLookedUp whether the cloud was asked; else it may have higher ones
   */
  setCloudVersion(projectId: string, version: number, isLookedUp: boolean): void {
    this.#db.transaction(() => {
      this.ensure(projectId);
      this.#db.run(
        `update projects set cloud_version = max(cloud_version, ?), looked_up = max(looked_up, ?)
         where id = ?`,
        version,
        isLookedUp ? 1 : 0,
        projectId,
      );
    });
  }

  /** Of when the link is that the cloud was told of, or told, in milliseconds; `null`: of none. */
  activeToldOf(projectId: string): number | null {
    const sql = 'select active_told from projects where id = ?';
    return this.#db.get<{ active_told: number | null }>(sql, projectId)?.active_told ?? null;
  }

  /** Owes it to the cloud to be told which generation is active. */
  oweActive(projectId: string): void {
    this.#db.run('update projects set active_owed = 1 where id = ?', projectId);
  }

  /** @param at of when the link is that it knows; `null`: there is none */
  setActiveTold(projectId: string, at: number | null): void {
    const sql = 'update projects set active_owed = 0, active_told = ? where id = ?';
    this.#db.run(sql, at, projectId);
  }

  /** Projects of which the cloud is to be told what is active, by id, after the given one. */
  listActiveOwed(after: string, limit: number): string[] {
    const sql = 'select id from projects where active_owed = 1 and id > ? order by id limit ?';
    return this.#db.all<{ id: string }>(sql, after, limit).map(({ id }) => id);
  }

  /** Projects that hold something, by id, after the given one. */
  list(after: string, limit: number): ProjectRow[] {
    return this.#db.all<ProjectRow>(
      `select p.id, p.owner_id, count(*) as versions, max(g.version) as latest_version,
         coalesce(sum(g.source_bytes), 0) as source_bytes
       from projects p
         cross join generations g not indexed on g.project_id = p.id and g.state = 'stored'
       where p.id > ? group by p.id order by p.id limit ?`,
      after,
      limit,
    );
  }
}
