import * as v from 'valibot';
import {
  CheckInSchema,
  CloudRowSchema,
  DamageOutcomeSchema,
  FailureOutcomeSchema,
  formatRef,
  OwnerOutcomeSchema,
  RecordOutcomeSchema,
  type Ref,
  ReserveOutcomeSchema,
  UnneededSchema,
} from '../contract.ts';
import type { Connection } from './connection.ts';
import type { ObjectPlace } from './objects.ts';
import type { CloudRow, DamageOutcome, RecordOutcome, ReserveOutcome } from './outcomes.ts';
import {
  inGroups,
  type Recording,
  type Reservation,
  reservationItem,
  settledValue,
} from './recording.ts';
import { checked, DATABASE, Rpc } from './rpc.ts';
import { fromPlatform } from './translate.ts';

/** How PostgREST says that a table is not there. */
const NO_SUCH_TABLE = new Set(['PGRST205', '42P01']);

/** The rows of generations in Postgres, written through our SQL functions. */
export class RecordsBySecretKey {
  readonly #connection: Connection;
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#rpc = new Rpc(connection);
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
    return this.#rpc.callForEach(call, reservations, (given) => ({
      ...reservationItem(given),
      bucket: this.#connection.settings.bucket,
      object_key: given.objectKey ?? null,
      replace: given.replace,
      host_id: given.hostId ?? null,
      earlier_keys: given.earlierKeys ?? [],
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
    throw fromPlatform({ ...error, status }, doing, DATABASE);
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
    throw fromPlatform({ ...error, status }, doing, DATABASE);
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
      const made = await this.#rpc.callForEach(call, group, (given) => {
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
  recordDamage(ref: Ref, { bucket, key }: ObjectPlace): Promise<DamageOutcome> {
    return this.#rpc.call(
      'storage_record_damage',
      {
        ...{ p_bucket: bucket, p_object_key: key },
        ...{ p_project_id: ref.projectId, p_version: ref.version },
      },
      DamageOutcomeSchema,
      `record the damage of ${formatRef(ref)}`,
    );
  }

  /** Notes why the upload of what was reserved is given up, for the user. */
  async recordFailure(ref: Ref, digest: string | null, reason: string): Promise<void> {
    await this.#rpc.call(
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
    return this.#rpc.call(
      'storage_set_owner',
      { p_project_id: projectId, p_owner_id: ownerId, p_transfer: options.transfer },
      OwnerOutcomeSchema,
      `set the owner of "${projectId}"`,
    );
  }

  /**
   * Says that this host is there.
   *
   * @param count what the last answer said; 0 at first, and after `older`
   */
  checkIn(hostId: string, count: number) {
    return this.#rpc.call(
      'storage_check_in',
      { p_host_id: hostId, p_count: count },
      CheckInSchema,
      'check in',
    );
  }

  /** Whether our migrations are applied. */
  async isThere(): Promise<boolean> {
    const listed = await this.#rpc.call(
      'storage_list_unneeded',
      { p_limit: 0 },
      UnneededSchema,
      'ask the database',
    );
    return Array.isArray(listed);
  }
}

const RESERVING = { schema: ReserveOutcomeSchema };
const RECORDING = { schema: RecordOutcomeSchema };
const HighestSchema = v.array(v.object({ version: v.number() }));
