import * as v from 'valibot';
import {
  CloudChangeSchema,
  DeletionOutcomeSchema,
  formatRef,
  PurgeOutcomeSchema,
  type Ref,
  RemovalOutcomeSchema,
  UndeletionOutcomeSchema,
  UnneededSchema,
} from '../contract.ts';
import type { Connection } from './connection.ts';
import type {
  CloudChange,
  DeletionOutcome,
  Purged,
  UndeletionOutcome,
  UnneededObject,
} from './outcomes.ts';
import { Rpc } from './rpc.ts';

/** Some of the feed. @property through the number up to which there is nothing else: the next page comes after it */
export type ChangesPage = Readonly<{
  items: readonly CloudChange[];
  through: number;
  hasMore: boolean;
}>;

/** What is deleted in the cloud, undeleted and purged, through our SQL functions; and the feed of it. */
export class RetentionBySecretKey {
  readonly #connection: Connection;
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#rpc = new Rpc(connection);
  }

  /**
   * Leaves a tombstone; tells which objects to remove.
   *
   * @param of.digests of the content that is deleted: any other stays, `other`; `null`: whatever it is
   * @param of.deletedAt when, and `of.epoch` up to which it was followed: one that was undone since is not told again
   * @param of.mustBeKnown what was never there is `other`: no tombstone is left of it
   * @param of.keys where the cloud has it, as far as this host knows: a database that was put back may not
   */
  recordDeletion(
    ref: Ref,
    of: Readonly<{
      digests: readonly string[] | null;
      keys: readonly string[];
      /** Where its archive lies, as far as this host knows, and its hashes. */
      sent: Readonly<{ key: string; md5: string | null; sha256: string | null }>;
      deletedAt: string | null;
      epoch: number;
      mustBeKnown: boolean;
    }>,
    hostId: string,
  ): Promise<DeletionOutcome> {
    return this.#rpc.call(
      'storage_record_deletion',
      {
        p_bucket: this.#connection.settings.bucket,
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_digests: of.digests,
        p_host_id: hostId,
        p_sent_keys: of.keys,
        p_deleted_at: of.deletedAt,
        p_epoch: of.epoch,
        p_must_be_known: of.mustBeKnown,
        p_sent: { sent_key: of.sent.key, md5: of.sent.md5, sha256: of.sent.sha256 },
      },
      DeletionOutcomeSchema,
      `record the deletion of ${formatRef(ref)}`,
    );
  }

  /**
   * Undoes a deletion, or a replacement.
   *
   * @param digest of the content that it is to have again; `null`: that which was deleted
   * @param hostId of whoever has undone a deletion of its own, which may still be on its way; `null`: nobody has
   */
  recordUndeletion(
    ref: Pick<Ref, 'projectId' | 'version'> & { generationId?: string | undefined },
    digest: string | null,
    hostId: string | null,
  ): Promise<UndeletionOutcome> {
    return this.#rpc.call(
      'storage_record_undeletion',
      {
        ...{ p_project_id: ref.projectId, p_version: ref.version },
        ...{ p_generation_id: ref.generationId ?? null, p_digest: digest, p_host_id: hostId },
      },
      UndeletionOutcomeSchema,
      `undelete ${formatRef(ref)}`,
    );
  }

  /** Gives up for good what is kept no longer, so much at a time; none once nothing is due. */
  async purge(limit: number): Promise<Purged> {
    const answer = await this.#rpc.call(
      'storage_purge',
      { p_limit: limit },
      PurgeOutcomeSchema,
      'purge',
    );
    return 'outcome' in answer ? { generations: 0, contents: 0, objects: [] } : answer;
  }

  /** Notes that objects that nothing needs are gone. Returns how many bytes that freed. */
  async recordRemovals(objects: readonly UnneededObject[]): Promise<number> {
    const answer = await this.#rpc.call(
      'storage_record_removals',
      { p_objects: objects },
      RemovalOutcomeSchema,
      'record what was removed',
    );
    return answer.outcome === 'recorded' ? answer.freed_bytes : 0;
  }

  /** Objects that nothing needs and nobody removed; none where no database is there. */
  async listUnneeded(limit: number): Promise<UnneededObject[]> {
    const listed = await this.#rpc.call(
      'storage_list_unneeded',
      { p_limit: limit },
      UnneededSchema,
      'list what is not needed',
    );
    return Array.isArray(listed) ? listed : [];
  }

  /**
   * A page of what was deleted, undeleted, purged or replaced in the cloud, in the order of its numbers; none
   * where no database is there.
   *
   * @param after the number through which all is known
   */
  async listChanges(after: number, limit: number): Promise<ChangesPage> {
    const page = await this.#rpc.call(
      'storage_list_changes',
      { p_limit: limit, p_after: after },
      v.array(CloudChangeSchema),
      'list what was changed',
    );
    const items = Array.isArray(page) ? page : [];
    return { items, through: items.at(-1)?.number ?? after, hasMore: items.length === limit };
  }
}
