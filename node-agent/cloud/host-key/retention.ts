import {
  ChangedSchema,
  DeletionOutcomeSchema,
  formatRef,
  PurgeOutcomeSchema,
  type Ref,
  StorageError,
  UndeletionOutcomeSchema,
} from '../../contract.ts';
import type { CloudRetention } from '../cloud.ts';
import type { DeletionOutcome, Purged, UndeletionOutcome } from '../outcomes.ts';
import type { ChangesPage } from '../retention.ts';
import type { HostApi } from './api.ts';

/** What is deleted, undeleted and purged, asked of the function `hosts`; and the feed of it. */
export class RetentionByHostKey implements CloudRetention {
  readonly #api: HostApi;

  constructor(api: HostApi) {
    this.#api = api;
  }

  recordDeletion(
    ref: Ref,
    of: Parameters<CloudRetention['recordDeletion']>[1],
    hostId: string,
  ): Promise<DeletionOutcome> {
    const body = {
      project_id: ref.projectId,
      version: ref.version,
      generation_id: ref.generationId,
      host_id: hostId,
      digests: of.digests,
      sent_key: of.sent.key,
      md5: of.sent.md5,
      sha256: of.sent.sha256,
      deleted_at: of.deletedAt,
      epoch: of.epoch,
    };
    return this.#api.ask('/delete', body, DeletionOutcomeSchema, `delete ${formatRef(ref)}`);
  }

  recordUndeletion(
    ref: Parameters<CloudRetention['recordUndeletion']>[0],
    digest: string | null,
    hostId: string | null,
  ): Promise<UndeletionOutcome> {
    const body = {
      project_id: ref.projectId,
      version: ref.version,
      generation_id: ref.generationId ?? null,
      digest,
      host_id: hostId,
    };
    return this.#api.ask('/undelete', body, UndeletionOutcomeSchema, `undelete ${formatRef(ref)}`);
  }

  /** Where the key has no right to delete the function purges what is due by itself. */
  async purge(limit: number): Promise<Purged> {
    try {
      return await this.#api.ask('/purge', { limit }, PurgeOutcomeSchema, 'purge');
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'forbidden') throw error;
      return { generations: 0, contents: 0, objects: [] };
    }
  }

  /** The function has noted it. */
  async recordRemovals(): Promise<number> {
    return 0;
  }

  /** The function removes them. */
  async listUnneeded(): Promise<[]> {
    return [];
  }

  async listChanges(after: number, limit: number): Promise<ChangesPage> {
    const body = { of: 'generations', after, limit };
    const doing = 'list what was changed';
    const { has_more: hasMore, ...page } = await this.#api.ask(
      '/changes',
      body,
      ChangedSchema,
      doing,
    );
    return { ...page, hasMore };
  }
}
