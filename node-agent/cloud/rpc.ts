import { setImmediate } from 'node:timers/promises';
import * as v from 'valibot';
import { formatRef, type Ref } from '../contract.ts';
import type { Connection } from './connection.ts';
import { isOutage } from './outage.ts';
import type { NoDatabase } from './outcomes.ts';
import { checkAnswer, fromPlatform } from './translate.ts';

/** How the database is named in messages. */
export const DATABASE = 'the database';

/** How PostgREST says that a function is not there: our migrations are not applied. */
const NO_SUCH_FUNCTION = new Set(['PGRST202', '42883']);

export type OutcomeSchema<T> = v.GenericSchema<unknown, T>;

/** Calls of our SQL functions. */
export class Rpc {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Calls a function that takes several. It does all of them or none: where one is refused, each is
   * told alone.
   */
  async callForEach<Given extends { ref: Ref }, Outcome>(
    call: Readonly<{ name: string; verb: string; schema: OutcomeSchema<Outcome> }>,
    given: readonly Given[],
    toItem: (given: Given) => object,
  ): Promise<PromiseSettledResult<Outcome | NoDatabase>[]> {
    const doing = ({ ref }: Given) => `${call.verb} ${formatRef(ref)}`;
    const eachAlone = async () => {
      const results: PromiseSettledResult<Outcome | NoDatabase>[] = [];
      for (const one of given) results.push(...(await this.callForEach(call, [one], toItem)));
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
      const answer = await this.call(call.name, { p_items: items }, named, doing(given[0]!));
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
      if (isOutage(error)) {
        return given.map((one) => {
          const reason =
            error.cause === undefined ? error : fromPlatform(error.cause, doing(one), DATABASE);
          return { status: 'rejected', reason };
        });
      }
      return given.length === 1 ? [{ status: 'rejected', reason: error }] : eachAlone();
    }
  }

  /** Calls a function. @param doing completes "Cannot …" */
  async call<T>(
    name: string,
    args: Record<string, unknown>,
    schema: OutcomeSchema<T>,
    doing: string,
  ): Promise<T | NoDatabase> {
    const { data, error, status } = await this.#connection.client.rpc(name, args);
    if (error === null) return checked(schema, data, doing);
    if (NO_SUCH_FUNCTION.has(error.code)) return { outcome: 'no_database' };
    throw fromPlatform({ ...error, status }, doing, DATABASE);
  }
}

/** @throws StorageError `unavailable` where it is nothing that we would answer */
export function checked<T>(schema: OutcomeSchema<T>, answer: unknown, doing: string): T {
  const { success, output } = v.safeParse(schema, answer);
  checkAnswer(success, doing, DATABASE);
  return output as T;
}
