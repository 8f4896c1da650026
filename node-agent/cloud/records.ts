import { setImmediate } from 'node:timers/promises';
import * as v from 'valibot';
import type { BlockIndex } from '../archive/pack.ts';
import { formatRef, type Manifest, type Ref } from '../contract.ts';
import type { Connection } from './connection.ts';
import type { ObjectPlace } from './objects.ts';
import { CloudError } from './outage.ts';
import {
  ChangesSchema,
  CheckInSchema,
  type CloudChange,
  type CloudRow,
  CloudRowSchema,
  type DeletionOutcome,
  DeletionOutcomeSchema,
  FailureOutcomeSchema,
  type NoDatabase,
  OwnerOutcomeSchema,
  type RecordOutcome,
  RecordOutcomeSchema,
  RemovalOutcomeSchema,
  type ReserveOutcome,
  ReserveOutcomeSchema,
  type UnneededObject,
  UnneededSchema,
} from './outcomes.ts';
import { checkAnswer, fromPlatform } from './translate.ts';

/** What is said of a generation before a byte of it is sent. */
export type Reservation = Readonly<{
  ref: Ref;
  /** Where its archive lies already; left out, a key is given. */
  objectKey?: string;
  digest: string | null;
  sha256: string;
  /** Of the archive: tells whether what lies under a key is it. */
  md5?: string | null;
  archiveBytes: number | null;
  sourceBytes: number | null;
  fileCount: number | null;
  createdAt: string;
  ownerId: string | null;
  /** Whether it may take the place of other content under the same ref. */
  replace: boolean;
  /** Who reserves it: what it had reserved before, and not sent, is not needed then. */
  hostId?: string;
  /** Where the cloud has it, as far as this host knows: a database that was put back may not. */
  sentKey?: string | null;
}>;

/** What is said of a generation whose archive is in the bucket. */
export type Recording = Readonly<{
  ref: Ref;
  /** That was reserved for it. */
  objectKey: string;
  /** Of the content, where this host has proven it. */
  digest?: string | null;
  /** Of the archive under that key. */
  sha256: string;
  /** Whether its bytes are proven equal. */
  status: 'uploaded' | 'verified';
  /** Files in it, more or less: a request carries the names of so many at most. */
  fileCount: number;
  /**
   * Reads what is recorded with it; `null` where that was done. With the MD5 of the archive:
   * where Storage says the same, the row is `verified` at once.
   */
  readDetails: (() => RecordedDetails & { md5: string }) | null;
}>;

export type RecordedDetails = Readonly<{ manifest: Manifest; blockIndex: BlockIndex | null }>;

/** Where in the order of changes one is. `changed_at` is the database's text, to the microsecond. */
export type ChangePosition = Pick<CloudChange, 'changed_at' | 'project_id' | 'version'>;

/** How PostgREST says that a table is not there. */
const NO_SUCH_TABLE = new Set(['PGRST205', '42P01']);

/** How PostgREST says that a function is not there: our migrations are not applied. */
const NO_SUCH_FUNCTION = new Set(['PGRST202', '42883']);

/** How many files the manifests in one request may have: each takes about 200 bytes. */
const MAX_FILES = 2_000;

/** The rows of generations in Postgres, written through our SQL functions. */
export class CloudRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Takes the version, before a byte is sent. */
  async reserve(reservation: Reservation): Promise<ReserveOutcome> {
    return settledValue((await this.reserveAll([reservation]))[0]!);
  }

  /** The same of several, in one request. Does not throw; each outcome is in the place of its own. */
  reserveAll(
    reservations: readonly Reservation[],
  ): Promise<PromiseSettledResult<ReserveOutcome>[]> {
    const call = { name: 'storage_reserve_generations', verb: 'reserve', ...RESERVING };
    return this.#callForEach(call, reservations, (given) => ({
      project_id: given.ref.projectId,
      version: given.ref.version,
      generation_id: given.ref.generationId,
      bucket: this.#connection.settings.bucket,
      object_key: given.objectKey ?? null,
      digest: given.digest,
      sha256: given.sha256,
      md5: given.md5 ?? null,
      archive_bytes: given.archiveBytes,
      source_bytes: given.sourceBytes,
      file_count: given.fileCount,
      created_at: given.createdAt,
      owner_id: given.ownerId,
      replace: given.replace,
      host_id: given.hostId ?? null,
      sent_key: given.sentKey ?? null,
    }));
  }

  /** What the database knows of a version; `null` where it has none, or no database is there. */
  async find(projectId: string, version: number): Promise<CloudRow | null> {
    const doing = `look up ${formatRef({ projectId, version })}`;
    const { data, error, status } = await this.#connection.client
      .from('storage_generations')
      .select(Object.keys(CloudRowSchema.entries).join())
      .eq('project_id', projectId)
      .eq('version', version)
      .limit(1);
    if (error === null) return checked(v.array(CloudRowSchema), data, doing)[0] ?? null;
    if (NO_SUCH_TABLE.has(error.code)) return null;
    throw fromPlatform({ ...error, status }, doing, WHO);
  }

  /**
   * The highest version that a project ever had, deleted ones too; 0 where it has none.
   *
   * @param options.generationId of this generation alone
   */
  async highestVersion(
    projectId: string,
    { generationId, signal }: { generationId?: string; signal: AbortSignal },
  ): Promise<number> {
    const doing = `look up "${projectId}"`;
    const { data, error, status } = await this.#connection.client
      .from('storage_generations')
      .select('version')
      .match({
        project_id: projectId,
        ...(generationId === undefined ? {} : { generation_id: generationId }),
      })
      .order('version', { ascending: false })
      .limit(1)
      .abortSignal(signal);
    if (error === null) return checked(HighestSchema, data, doing)[0]?.version ?? 0;
    if (NO_SUCH_TABLE.has(error.code)) return 0;
    throw fromPlatform({ ...error, status }, doing, WHO);
  }

  /** Notes that the archive is in the bucket, or proven equal. */
  async record(recording: Recording): Promise<RecordOutcome> {
    return settledValue((await this.recordAll([recording]))[0]!);
  }

  /** The same of several, in as few requests as can be. As {@link reserveAll}. */
  async recordAll(
    recordings: readonly Recording[],
  ): Promise<PromiseSettledResult<RecordOutcome>[]> {
    const results: PromiseSettledResult<RecordOutcome>[] = [];
    for (const group of inGroups(recordings)) {
      const call = { name: 'storage_record_generations', verb: 'record', ...RECORDING };
      const made = await this.#callForEach(call, group, (given) => {
        const details = given.readDetails?.();
        return {
          project_id: given.ref.projectId,
          version: given.ref.version,
          bucket: this.#connection.settings.bucket,
          object_key: given.objectKey,
          digest: given.digest ?? null,
          sha256: given.sha256,
          status: given.status,
          manifest: details?.manifest ?? null,
          block_index: details?.blockIndex ?? null,
          md5: details?.md5 ?? null,
        };
      });
      results.push(...made);
    }
    return results;
  }

  /**
   * Notes that the object of a generation is not what it was; tells which objects to remove. It is
   * `other` where the row names another object.
   */
  recordDamage(ref: Ref, { bucket, key }: ObjectPlace): Promise<DeletionOutcome> {
    return this.#call(
      'storage_record_damage',
      {
        ...{ p_bucket: bucket, p_object_key: key },
        ...{ p_project_id: ref.projectId, p_version: ref.version },
      },
      DeletionOutcomeSchema,
      `record the damage of ${formatRef(ref)}`,
    );
  }

  /** Notes why the upload of what was reserved is given up, for the user. */
  async recordFailure(ref: Ref, digest: string | null, reason: string): Promise<void> {
    await this.#call(
      'storage_record_failure',
      {
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_digest: digest,
        p_reason: reason,
      },
      FailureOutcomeSchema,
      `record the failure of ${formatRef(ref)}`,
    );
  }

  /**
   * Sets the owner of a project that has none.
   *
   * @param options.transfer also where it has another one
   */
  setOwner(projectId: string, ownerId: string, options: { transfer: boolean }) {
    return this.#call(
      'storage_set_owner',
      { p_project_id: projectId, p_owner_id: ownerId, p_transfer: options.transfer },
      OwnerOutcomeSchema,
      `set the owner of "${projectId}"`,
    );
  }

  /**
   * Leaves a tombstone; tells which objects to remove.
   *
   * @param digests of the content that is deleted: any other stays, `other`; `null`: whatever it is
   */
  recordDeletion(
    ref: Ref,
    digests: readonly string[] | null,
    hostId: string,
  ): Promise<DeletionOutcome> {
    return this.#call(
      'storage_record_deletion',
      {
        p_bucket: this.#connection.settings.bucket,
        p_project_id: ref.projectId,
        p_version: ref.version,
        p_generation_id: ref.generationId,
        p_digests: digests,
        p_host_id: hostId,
      },
      DeletionOutcomeSchema,
      `record the deletion of ${formatRef(ref)}`,
    );
  }

  /** Notes that objects that nothing needs are gone. */
  async recordRemovals(objects: readonly UnneededObject[]): Promise<void> {
    await this.#call(
      'storage_record_removals',
      { p_objects: objects },
      RemovalOutcomeSchema,
      'record what was removed',
    );
  }

  /**
   * Says that this host is there.
   *
   * @param count what the last answer said; 0 at first, and after `older`
   */
  checkIn(hostId: string, count: number) {
    return this.#call(
      'storage_check_in',
      { p_host_id: hostId, p_count: count },
      CheckInSchema,
      'check in',
    );
  }

  /** Whether our migrations are applied. */
  async isThere(): Promise<boolean> {
    const listed = await this.#call(
      'storage_list_unneeded',
      { p_limit: 0 },
      UnneededSchema,
      'ask the database',
    );
    return Array.isArray(listed);
  }

  /** Objects that nothing needs and nobody removed; none where no database is there. */
  async listUnneeded(limit: number): Promise<UnneededObject[]> {
    const listed = await this.#call(
      'storage_list_unneeded',
      { p_limit: limit },
      UnneededSchema,
      'list what is not needed',
    );
    return Array.isArray(listed) ? listed : [];
  }

  /**
   * A page of what was deleted or replaced in the cloud, oldest first; none where no database is
   * there.
   *
   * @param after the last one that is known
   */
  async listChanges(after: ChangePosition | null, limit: number): Promise<CloudChange[]> {
    const page = await this.#call(
      'storage_list_changes',
      {
        p_limit: limit,
        ...(after === null
          ? {}
          : {
              p_after_changed_at: after.changed_at,
              p_after_project_id: after.project_id,
              p_after_version: after.version,
            }),
      },
      ChangesSchema,
      'list what was changed',
    );
    return Array.isArray(page) ? page : [];
  }

  /**
   * Calls a function that takes several. It does all of them or none: where one is refused, each is
   * told alone.
   */
  async #callForEach<Given extends { ref: Ref }, Outcome>(
    call: Readonly<{ name: string; verb: string; schema: OutcomeSchema<Outcome> }>,
    given: readonly Given[],
    toItem: (given: Given) => object,
  ): Promise<PromiseSettledResult<Outcome | NoDatabase>[]> {
    const doing = ({ ref }: Given) => `${call.verb} ${formatRef(ref)}`;
    const eachAlone = async () => {
      const results: PromiseSettledResult<Outcome | NoDatabase>[] = [];
      for (const one of given) results.push(...(await this.#callForEach(call, [one], toItem)));
      return results;
    };
    const items: object[] = [];
    try {
      for (const one of given) {
        items.push(toItem(one));
        // To read a manifest may take a millisecond, and the event loop is for others too.
        await setImmediate();
      }
    } catch (reason) {
      return given.length === 1 ? [{ status: 'rejected', reason }] : eachAlone();
    }
    try {
      const named = v.array(v.looseObject({ project_id: v.string(), version: v.number() }));
      const answer = await this.#call(call.name, { p_items: items }, named, doing(given[0]!));
      if (!Array.isArray(answer)) {
        return given.map(() => ({ status: 'fulfilled', value: answer }));
      }
      const byRef = new Map(answer.map((one) => [`${one.project_id} ${one.version}`, one]));
      return given.map((one) => {
        const { projectId, version } = one.ref;
        const value = checked(call.schema, byRef.get(`${projectId} ${version}`), doing(one));
        return { status: 'fulfilled', value };
      });
    } catch (error) {
      // What goes wrong for whoever asks, whatever is asked.
      if (error instanceof CloudError && error.outage !== null) {
        return given.map((one) => {
          const reason =
            error.cause === undefined ? error : fromPlatform(error.cause, doing(one), WHO);
          return { status: 'rejected', reason };
        });
      }
      return given.length === 1 ? [{ status: 'rejected', reason: error }] : eachAlone();
    }
  }

  async #call<T>(
    name: string,
    args: Record<string, unknown>,
    schema: OutcomeSchema<T>,
    doing: string,
  ): Promise<T | NoDatabase> {
    const { data, error, status } = await this.#connection.client.rpc(name, args);
    if (error === null) return checked(schema, data, doing);
    if (NO_SUCH_FUNCTION.has(error.code)) return { outcome: 'no_database' };
    throw fromPlatform({ ...error, status }, doing, WHO);
  }
}

type OutcomeSchema<T> = v.GenericSchema<unknown, T>;

const WHO = 'the database';
const RESERVING = { schema: ReserveOutcomeSchema };
const RECORDING = { schema: RecordOutcomeSchema };
const HighestSchema = v.array(v.object({ version: v.number() }));

/** @throws StorageError `unavailable` where it is nothing that we would answer */
function checked<T>(schema: OutcomeSchema<T>, answer: unknown, doing: string): T {
  const { success, output } = v.safeParse(schema, answer);
  checkAnswer(success, doing, WHO);
  return output as T;
}

/** So that no request is too large, and few manifests are in memory at once. */
function* inGroups(recordings: readonly Recording[]): Iterable<Recording[]> {
  let group: Recording[] = [];
  let files = 0;
  for (const one of recordings) {
    if (group.length > 0 && files + one.fileCount > MAX_FILES) {
      yield group;
      group = [];
      files = 0;
    }
    group.push(one);
    files += one.fileCount;
  }
  if (group.length > 0) yield group;
}

function settledValue<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
