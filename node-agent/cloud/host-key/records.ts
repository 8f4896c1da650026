import { setImmediate } from 'node:timers/promises';
import * as v from 'valibot';
import {
  CheckInSchema,
  DamageOutcomeSchema,
  FoundSchema,
  formatRef,
  HOST_LIMITS,
  HostCheckSchema,
  OwnerOutcomeSchema,
  RecordedSchema,
  type Ref,
  ReservedSchema,
} from '../../contract.ts';
import type { CloudRecords } from '../cloud.ts';
import type { ObjectPlace } from '../objects.ts';
import { isOutage } from '../outage.ts';
import type { CloudRow, DamageOutcome, RecordOutcome, ReserveOutcome } from '../outcomes.ts';
import {
  inGroups,
  type Recording,
  type Reservation,
  reservationItem,
  settledValue,
} from '../recording.ts';
import { type HostApi, takesSecretKey } from './api.ts';
import type { UploadTokens } from './tokens.ts';

/** Of a body beside its largest item. */
const ROOM_BYTES = 16 * 1024;

/** Rows of generations, asked of the function `hosts`. */
export class RecordsByHostKey implements CloudRecords {
  readonly #api: HostApi;
  readonly #tokens: UploadTokens;

  constructor(api: HostApi, tokens: UploadTokens) {
    this.#api = api;
    this.#tokens = tokens;
  }

  async reserve(reservation: Reservation): Promise<ReserveOutcome> {
    return settledValue((await this.reserveAll([reservation]))[0]!);
  }

  async reserveAll(
    reservations: readonly Reservation[],
  ): Promise<PromiseSettledResult<ReserveOutcome>[]> {
    const byRoute = (replace: boolean) => (given: Reservation) => given.replace === replace;
    const results = new Map<Reservation, PromiseSettledResult<ReserveOutcome>>();
    for (const [route, given] of [
      ['/reserve', reservations.filter(byRoute(false))],
      ['/replace', reservations.filter(byRoute(true))],
    ] as const) {
      for (let begin = 0; begin < given.length; begin += HOST_LIMITS.batch) {
        const some = given.slice(begin, begin + HOST_LIMITS.batch);
        const made = await each(some, (group) => this.#reserve(route, group));
        for (const [i, one] of some.entries()) results.set(one, made[i]!);
      }
    }
    return reservations.map((given) => results.get(given)!);
  }

  async #reserve(route: string, group: readonly Reservation[]): Promise<ReserveOutcome[]> {
    const body = {
      host_id: group[0]!.hostId ?? NO_HOST,
      items: group.map(reservationItem),
    };
    const doing = `reserve ${formatRef(group[0]!.ref)}`;
    const { items } = await this.#api.ask(route, body, ReservedSchema, doing);
    for (const { upload } of items) if (upload !== null) this.#tokens.note(upload);
    return inOrder(group, items);
  }

  async find(projectId: string, version: number): Promise<CloudRow | null> {
    const doing = `look up ${formatRef({ projectId, version })}`;
    const body = { items: [{ project_id: projectId, version }] };
    return (await this.#api.ask('/find', body, FoundSchema, doing)).items[0]?.row ?? null;
  }

  async highestVersion(
    projectId: string,
    { generationId, signal }: { generationId?: string; signal: AbortSignal },
  ): Promise<number> {
    const item = { project_id: projectId, version: null, generation_id: generationId ?? null };
    const doing = `look up "${projectId}"`;
    const found = await this.#api.ask('/find', { items: [item] }, FoundSchema, doing, signal);
    return found.items[0]?.highest_version ?? 0;
  }

  async record(recording: Recording): Promise<RecordOutcome> {
    return settledValue((await this.recordAll([recording]))[0]!);
  }

  async recordAll(
    recordings: readonly Recording[],
  ): Promise<PromiseSettledResult<RecordOutcome>[]> {
    const results: PromiseSettledResult<RecordOutcome>[] = [];
    for (const group of inGroups(recordings, HOST_LIMITS.batch)) {
      results.push(...(await each(group, (some) => this.#record(some))));
    }
    return results;
  }

  async #record(group: readonly Recording[]): Promise<RecordOutcome[]> {
    const items: object[] = [];
    let room = HOST_LIMITS.bodyBytes - ROOM_BYTES * group.length;
    for (const given of group) {
      const details = given.readDetails?.();
      // The archive has it too: one that no request can carry is read there.
      const bytes = Buffer.byteLength(JSON.stringify(details ?? null));
      const fits = bytes < room;
      if (fits) room -= bytes;
      items.push({
        project_id: given.ref.projectId,
        version: given.ref.version,
        object_key: given.objectKey,
        digest: given.digest ?? null,
        sha256: given.sha256,
        status: given.status,
        manifest: fits ? (details?.manifest ?? null) : null,
        block_index: fits ? (details?.blockIndex ?? null) : null,
        md5: details?.md5 ?? null,
      });
      // To read a manifest may take a millisecond, and the event loop is for others too.
      await setImmediate();
    }
    const doing = `record ${formatRef(group[0]!.ref)}`;
    const answer = await this.#api.ask('/record', { items }, RecordedSchema, doing);
    return inOrder<RecordOutcome>(group, answer.items).map((outcome, i) =>
      // What this host has proven counts here, whether the function could prove it or not.
      outcome.outcome === 'recorded' && group[i]!.status === 'verified'
        ? { ...outcome, status: 'verified' as const }
        : outcome,
    );
  }

  async recordDamage(ref: Ref, { key }: ObjectPlace): Promise<DamageOutcome> {
    const item = {
      project_id: ref.projectId,
      version: ref.version,
      object_key: key,
      status: 'damaged',
    };
    const schema = v.object({
      items: v.array(v.union([DamageOutcomeSchema, v.object({ outcome: v.literal('missing') })])),
    });
    const doing = `record the damage of ${formatRef(ref)}`;
    const [answer] = (await this.#api.ask('/record', { items: [item] }, schema, doing)).items;
    return answer?.outcome === 'recorded' ? answer : { outcome: 'other' };
  }

  async recordFailure(ref: Ref, digest: string | null, reason: string): Promise<void> {
    const item = {
      project_id: ref.projectId,
      version: ref.version,
      generation_id: ref.generationId,
      status: 'failed',
      digest,
      reason: reason.slice(0, 1000),
    };
    const doing = `record the failure of ${formatRef(ref)}`;
    await this.#api.ask('/record', { items: [item] }, RecordedSchema, doing);
  }

  async setOwner(projectId: string, ownerId: string, options: { transfer: boolean }) {
    const doing = `set the owner of "${projectId}"`;
    if (options.transfer) throw takesSecretKey(`transfer "${projectId}"`);
    const body = { project_id: projectId, owner_id: ownerId };
    return this.#api.ask('/owner', body, OwnerOutcomeSchema, doing);
  }

  async checkIn(hostId: string, count: number) {
    const schema = v.intersect([HostCheckSchema, CheckInSchema]);
    return this.#api.ask('/check', { host_id: hostId, count }, schema, 'check in');
  }

  /** What a function answers that is deployed has its migrations. */
  async isThere(): Promise<boolean> {
    await this.#api.ask('/check', {}, HostCheckSchema, 'ask the database');
    return true;
  }
}

/** Of a reservation that no agent makes. */
const NO_HOST = '00000000-0000-0000-0000-000000000000';

/** Asks for several at once. It is all of them or none: where one is refused, each is asked for alone. */
async function each<Given, Outcome>(
  given: readonly Given[],
  ask: (some: readonly Given[]) => Promise<Outcome[]>,
): Promise<PromiseSettledResult<Outcome>[]> {
  try {
    return (await ask(given)).map((value) => ({ status: 'fulfilled', value }));
  } catch (reason) {
    if (given.length === 1 || isOutage(reason)) {
      return given.map(() => ({ status: 'rejected', reason }));
    }
    const results: PromiseSettledResult<Outcome>[] = [];
    for (const one of given) results.push(...(await each([one], ask)));
    return results;
  }
}

/** The answers come in the order of the names. */
function inOrder<Outcome>(
  given: readonly { ref: Ref }[],
  answers: readonly { project_id: string; version: number }[],
): Outcome[] {
  const byName = new Map(answers.map((one) => [`${one.project_id} ${one.version}`, one]));
  return given.map(({ ref }) => byName.get(`${ref.projectId} ${ref.version}`) as Outcome);
}
