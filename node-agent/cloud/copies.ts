import * as v from 'valibot';
import { StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import type { NoDatabase } from './outcomes.ts';
import { ClaimedFilesSchema, FILES_AT_ONCE } from './project-file.ts';
import { type OutcomeSchema, Rpc } from './rpc.ts';

const text = v.nullable(v.string());

const ClaimedSchema = v.object({
  bucket: v.string(),
  object_key: v.string(),
  project_id: v.string(),
  version: v.number(),
  generation_id: text,
  /** `unneeded`: it is to go. */
  state: v.picklist(['owed', 'unneeded']),
  attempts: v.number(),
  /** Of the archive; `null` where nobody knows it any more. */
  sha256: text,
  archive_bytes: v.nullable(v.number()),
});

const ListedSchema = v.object({
  bucket: v.string(),
  object_key: v.string(),
  project_id: v.string(),
  version: v.number(),
  state: v.picklist(['owed', 'copied', 'unneeded']),
  sha256: text,
  failure: text,
  archive_bytes: v.nullable(v.number()),
});

const CountedSchema = v.object({
  name: v.string(),
  bucket: v.string(),
  region: v.string(),
  created_at: v.string(),
  copied: v.number(),
  owed: v.number(),
  unneeded: v.number(),
  failed: v.number(),
  owed_since: text,
  failure: text,
});

const OwedSchema = v.variant('outcome', [
  v.object({
    outcome: v.literal('recorded'),
    owed: v.number(),
    next: v.nullable(v.object({ project_id: v.string(), version: v.number() })),
  }),
  v.object({ outcome: v.literal('missing') }),
]);
const AddedSchema = v.object({ outcome: v.picklist(['recorded', 'other']) });
const RecordedSchema = v.object({ outcome: v.literal('recorded') });
const LostSchema = v.object({ outcome: v.literal('recorded'), owed: v.number() });

/** What is owed to a replica, or is to go from there, and was given to this host. */
export type ClaimedCopy = v.InferOutput<typeof ClaimedSchema>;
/** What lies in a replica, or is owed to it, or is to go. */
export type ListedCopy = v.InferOutput<typeof ListedSchema>;
/** How a replica is. Times are ISO 8601. @property owed_since of the oldest that is owed, or is to go */
export type CountedCopies = v.InferOutput<typeof CountedSchema>;
/** What became of what was given to this host. */
export type CopyResult = Pick<ClaimedCopy, 'bucket' | 'object_key' | 'project_id' | 'version'> &
  (
    | Readonly<{ outcome: 'copied'; sha256: string }>
    | Readonly<{ outcome: 'removed' }>
    | Readonly<{ outcome: 'failed'; failure: string | null; wait_ms: number }>
  );
type ClaimedFile = v.InferOutput<typeof ClaimedFilesSchema>[number];

/** So many rows are owed, or listed, at once. */
const PAGE_ROWS = 1000;

/** What the database knows of replicas: what lies there, and what is owed to them. */
export class CopiesBySecretKey {
  readonly #rpc: Rpc;
  readonly #bucket: string;

  constructor(connection: Connection) {
    this.#rpc = new Rpc(connection);
    this.#bucket = connection.settings.bucket;
  }

  /**
   * From now on what is verified in this bucket is owed to it, and the file of each project is. Repeated, it sets the
   * region.
   *
   * @throws StorageError `conflict` where it is known as that of another bucket
   */
  async add(name: string, region: string): Promise<void> {
    const args = { p_name: name, p_bucket: this.#bucket, p_region: region };
    const doing = `add replica "${name}"`;
    const { outcome } = await this.#call('storage_add_replica', args, AddedSchema, doing);
    if (outcome === 'recorded') return;
    const state = 'the database has one of this name of another bucket. Use another name';
    throw new StorageError('conflict', `Cannot ${doing}: ${state}`);
  }

  /** Nothing is owed to it any more. */
  async forget(name: string): Promise<void> {
    await this.#call(
      'storage_forget_replica',
      { p_name: name },
      RecordedSchema,
      `forget replica "${name}"`,
    );
  }

  /**
   * Owes it what was verified and never owed, and has what failed be tried at once.
   *
   * @returns how many were owed by that
   * @throws StorageError `not_found` where the database knows no such replica
   */
  async oweAll(name: string): Promise<number> {
    const doing = `owe replica "${name}" what it has not`;
    for (let owed = 0, after = { project_id: '', version: 0 }; ; ) {
      const { project_id: p_after_project, version: p_after_version } = after;
      const args = { p_replica: name, p_limit: PAGE_ROWS, p_after_project, p_after_version };
      const page = await this.#call('storage_owe_copies', args, OwedSchema, doing);
      if (page.outcome === 'missing') throw unknown(name);
      owed += page.owed;
      if (page.next === null) return owed;
      after = page.next;
    }
  }

  /**
   * Some of what is owed to it. Nobody else is given it meanwhile.
   *
   * @param hostId what this host has on its disk, or others left for ten minutes; `null`: of all
   */
  claim(name: string, hostId: string | null, limit: number): Promise<ClaimedCopy[]> {
    return this.#call(
      'storage_claim_copies',
      { p_replica: name, p_host_id: hostId, p_limit: limit },
      v.array(ClaimedSchema),
      `ask what is owed to replica "${name}"`,
    );
  }

  /** What became of what was claimed. */
  async note(name: string, results: readonly CopyResult[]): Promise<void> {
    const args = { p_replica: name, p_items: results };
    const doing = `note what lies in replica "${name}"`;
    await this.#call('storage_note_copies', args, RecordedSchema, doing);
  }

  /** All that lies there, is owed to it, or is to go, page by page, by key. @param only this project alone */
  async *list(name: string, only?: string): AsyncGenerator<ListedCopy> {
    const doing = `list what lies in replica "${name}"`;
    for (let after: ListedCopy | null = null; ; ) {
      const args = {
        ...{ p_replica: name, p_limit: PAGE_ROWS, p_project_id: only ?? null },
        ...{ p_after_bucket: after?.bucket ?? '', p_after_key: after?.object_key ?? '' },
      };
      const schema: OutcomeSchema<ListedCopy[]> = v.array(ListedSchema);
      const page: ListedCopy[] = await this.#call('storage_list_copies', args, schema, doing);
      yield* page;
      after = page.at(-1) ?? null;
      if (page.length < PAGE_ROWS) return;
    }
  }

  /** Every replica of this bucket that the database knows, by name. */
  async count(): Promise<CountedCopies[]> {
    const doing = 'count what replicas have';
    const all = await this.#call('storage_count_copies', {}, v.array(CountedSchema), doing);
    return all.filter(({ bucket }) => bucket === this.#bucket);
  }

  /** Owes again what a replica was found not to have. Returns how many that are. */
  async lose(
    name: string,
    places: readonly Readonly<{ bucket: string; object_key: string }>[],
  ): Promise<number> {
    const args = { p_replica: name, p_items: places };
    const doing = `owe replica "${name}" what it has lost`;
    return (await this.#call('storage_lose_copies', args, LostSchema, doing)).owed;
  }

  /** Files of projects that are to be written there. Nobody else is given them for three minutes. */
  claimProjects(name: string): Promise<ClaimedFile[]> {
    return this.#call(
      'storage_claim_replica_projects',
      { p_replica: name, p_limit: FILES_AT_ONCE },
      ClaimedFilesSchema,
      `ask which projects replica "${name}" knows not as they are`,
    );
  }

  async noteProjects(
    name: string,
    items: readonly Readonly<{ project_id: string; revision: number }>[],
  ): Promise<void> {
    const args = { p_replica: name, p_items: items };
    const doing = `note which projects are written down in replica "${name}"`;
    await this.#call('storage_record_replica_projects', args, RecordedSchema, doing);
  }

  async #call<T>(
    name: string,
    args: Record<string, unknown>,
    schema: OutcomeSchema<T>,
    doing: string,
  ): Promise<T> {
    const answer = await this.#rpc.call(name, args, schema, doing);
    if (isMissing(answer)) {
      const state = 'the database has none of our tables, or older ones. Push the migrations';
      throw new StorageError('not_found', `Cannot ${doing}: ${state}`);
    }
    return answer;
  }
}

function isMissing<T>(answer: T | NoDatabase): answer is NoDatabase {
  return (answer as Partial<NoDatabase>)?.outcome === 'no_database';
}

function unknown(name: string): StorageError {
  const state = 'the database knows no such replica: add it anew';
  return new StorageError('not_found', `Cannot fill replica "${name}": ${state}`);
}
