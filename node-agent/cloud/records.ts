import type { BlockIndex } from '../archive/pack.ts';
import type { Manifest, Ref } from '../contract.ts';
import { formatRef } from '../contract.ts';
import type { Connection } from './connection.ts';
import { fromPlatform } from './translate.ts';

/** What is said of a generation before a byte of it is sent. */
export type Reservation = Readonly<{
  ref: Ref;
  objectKey: string;
  digest: string | null;
  sha256: string;
  archiveBytes: number | null;
  sourceBytes: number | null;
  fileCount: number | null;
  createdAt: string;
  ownerId: string | null;
  /** Whether it may take the place of other content under the same ref. */
  replace: boolean;
}>;

export type ReserveOutcome =
  | {
      outcome: 'reserved';
      status: 'pending' | 'uploaded' | 'verified';
      sha256: string;
      /** What the row names now: for a replacement, the object to remove in the end. */
      object_key: string;
    }
  | { outcome: 'conflict'; reason: string }
  | { outcome: 'deleted' }
  | { outcome: 'no_database' };

export type RecordOutcome = {
  /** Of what was replaced. */
  object_key?: string;
  /** What was recorded: `verified` too where the database had the proof. */
  status?: 'uploaded' | 'verified';
  outcome: 'recorded' | 'missing' | 'deleted' | 'superseded' | 'no_database';
};

export type DeletionOutcome =
  | { outcome: 'recorded'; bucket: string; object_key: string }
  | { outcome: 'missing' | 'other' | 'no_database' };

/** The row of a generation, as far as reading it needs. */
export type CloudRow = Readonly<{
  generation_id: string;
  bucket: string;
  object_key: string;
  status: 'pending' | 'uploaded' | 'verified' | 'deleted';
  sha256: string | null;
  archive_bytes: number | null;
}>;

/** Where in the order of deletions one is. `deleted_at` is the database's text, to the microsecond. */
export type TombstonePosition = Readonly<{
  deleted_at: string;
  project_id: string;
  version: number;
}>;

/** What the web app or another host deleted. */
export type CloudTombstone = TombstonePosition &
  Readonly<{ generation_id: string; digest: string | null }>;

/** `known`: it is that already; `missing`: there is no such project, or it is deleted. */
export type OwnerOutcome = Readonly<{
  outcome: 'set' | 'known' | 'conflict' | 'missing' | 'no_database';
}>;

/** How PostgREST says that a table is not there. */
const NO_SUCH_TABLE = new Set(['PGRST205', '42P01']);

/** How PostgREST says that a function is not there: our migrations are not applied. */
const NO_SUCH_FUNCTION = new Set(['PGRST202', '42883']);

/** The rows of generations in Postgres, written through our SQL functions. */
export class CloudRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Takes the version, before a byte is sent. */
  reserve(reservation: Reservation): Promise<ReserveOutcome> {
    const { ref } = reservation;
    return this.#call(
      'storage_reserve_generation',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_bucket: this.#connection.settings.bucket,
        p_object_key: reservation.objectKey,
        p_digest: reservation.digest,
        p_sha256: reservation.sha256,
        p_archive_bytes: reservation.archiveBytes,
        p_source_bytes: reservation.sourceBytes,
        p_file_count: reservation.fileCount,
        p_created_at: reservation.createdAt,
        p_owner_id: reservation.ownerId,
        p_replace: reservation.replace,
      },
      `reserve ${formatRef(ref)}`,
    );
  }

  /** What the database knows of a version; `null` where it has none, or no database is there. */
  async find(projectId: string, version: number): Promise<CloudRow | null> {
    const { data, error, status } = await this.#connection.client
      .from('storage_generations')
      .select('generation_id, bucket, object_key, status, sha256, archive_bytes')
      .eq('project_id', projectId)
      .eq('version', version)
      .maybeSingle<CloudRow>();
    if (error === null) return data;
    if (NO_SUCH_TABLE.has(error.code)) return null;
    throw fromPlatform(
      { ...error, status },
      `look up ${formatRef({ projectId, version })}`,
      'the database',
    );
  }

  /**
   * Notes that the archive is in the bucket, or proven equal.
   *
   * @param details.md5 of the archive: where Storage says the same, the row is `verified` at once
   */
  record(
    ref: Ref,
    sha256: string,
    status: 'uploaded' | 'verified',
    details?: { manifest: Manifest; blockIndex: BlockIndex | null; md5: string },
  ): Promise<RecordOutcome> {
    return this.#call(
      'storage_record_generation',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_sha256: sha256,
        p_status: status,
        p_manifest: details?.manifest ?? null,
        p_block_index: details?.blockIndex ?? null,
        p_md5: details?.md5 ?? null,
      },
      `record ${formatRef(ref)}`,
    );
  }

  /** Switches the row to the archive of a replacement, in one UPDATE. */
  replace(
    reservation: Reservation,
    details: { manifest: Manifest; blockIndex: BlockIndex | null },
  ): Promise<RecordOutcome> {
    const { ref } = reservation;
    return this.#call(
      'storage_replace_generation',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_object_key: reservation.objectKey,
        p_digest: reservation.digest,
        p_sha256: reservation.sha256,
        p_archive_bytes: reservation.archiveBytes,
        p_source_bytes: reservation.sourceBytes,
        p_file_count: reservation.fileCount,
        p_created_at: reservation.createdAt,
        p_manifest: details.manifest,
        p_block_index: details.blockIndex,
      },
      `replace ${formatRef(ref)}`,
    );
  }

  /** Sets the owner of a project that has none. */
  setOwner(projectId: string, ownerId: string): Promise<OwnerOutcome> {
    return this.#call(
      'storage_set_owner',
      { p_project_id: projectId, p_owner_id: ownerId },
      `set the owner of "${projectId}"`,
    );
  }

  /**
   * Leaves a tombstone; tells which object to remove.
   *
   * @param digest where it is given, other content is not deleted: `other`
   */
  recordDeletion(ref: Ref, digest: string | null): Promise<DeletionOutcome> {
    return this.#call(
      'storage_record_deletion',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_digest: digest,
      },
      `record the deletion of ${formatRef(ref)}`,
    );
  }

  /** Notes that the object of a deleted generation is gone. */
  async recordRemoval(ref: Ref): Promise<void> {
    await this.#call(
      'storage_record_removals',
      { p_project_id: ref.projectId, p_versions: [ref.version] },
      `record the removal of ${formatRef(ref)}`,
    );
  }

  /**
   * A page of what was deleted in the cloud, oldest first; none where no database is there.
   *
   * @param after the last one that is known
   */
  async listTombstones(after: TombstonePosition | null, limit: number): Promise<CloudTombstone[]> {
    const page = await this.#call<CloudTombstone[] | { outcome: 'no_database' }>(
      'storage_list_tombstones',
      {
        p_limit: limit,
        p_after_deleted_at: after?.deleted_at ?? null,
        p_after_project_id: after?.project_id ?? null,
        p_after_version: after?.version ?? null,
      },
      'list what was deleted',
    );
    return Array.isArray(page) ? page : [];
  }

  async #call<T>(name: string, args: Record<string, unknown>, doing: string): Promise<T> {
    const { data, error, status } = await this.#connection.client.rpc(name, args);
    if (error === null) return data as T;
    if (NO_SUCH_FUNCTION.has(error.code)) return { outcome: 'no_database' } as T;
    throw fromPlatform({ ...error, status }, doing, 'the database');
  }
}
