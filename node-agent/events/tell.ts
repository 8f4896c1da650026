import { StorageError } from '../contract.ts';
import { type Activity, countsOf } from './activity.ts';
import {
  isLogged,
  type LoggedKind,
  type OnEvent,
  type StorageEvent,
  type Tell,
  type Told,
} from './events.ts';
import { toWire } from './wire.ts';

/** Where events are kept, and owners known: the catalog. */
export type Keeper = Readonly<{
  events: { add(kind: string, body: string): number; idOf(number: number): string };
  /** What was done, counted by time. */
  activity: { add(done: Partial<Activity>, now: number): void };
  /** What is owed to webhooks. `add` says whether it is time to look for what is too much. */
  deliveries: {
    add(owed: { webhook_id: string; event_id: string; body: string }, now: number): boolean;
    trim(webhookId: string): number;
  };
  receivers: { drop(webhookId: string, count: number): void };
  projects: { ownerOf(projectId: string): string | null };
  isInTransaction: boolean;
  afterCommit(work: () => void): void;
  write<T>(work: () => T): Promise<T>;
}>;

/** Who is told by HTTP, by id: all, and those that are told of a kind. */
export type WebhookIds = Readonly<{
  list(): readonly Readonly<{ id: string }>[];
  toldOf(kind: LoggedKind): readonly string[];
}>;

/**
 * Makes what tells of events: each gets its time, and its owner where it is about a generation; what is kept goes
 * into the catalog, with what is owed to webhooks for it. A listener that throws is not ours to die of.
 *
 * @param options.keeper `null` until it is open
 * @param options.webhooks `null` until they are known
 */
export function createTell(
  listener: OnEvent | undefined,
  {
    now,
    keeper,
    webhooks = () => null,
  }: {
    now: () => number;
    keeper: () => Keeper | null;
    webhooks?: () => WebhookIds | null;
  },
): Tell {
  const complete = (told: Told): StorageEvent => {
    const owner =
      'projectId' in told
        ? { ownerId: ownerOf(keeper(), told.projectId) ?? told.ownerId ?? null }
        : {};
    const at = new Date(now()).toISOString();
    const by = isLogged(told.kind) ? { requestId: told.requestId ?? null } : {};
    return { ...told, ...owner, at, ...by } as StorageEvent;
  };
  return (told) => {
    const event = complete(told);
    const notify = () => {
      try {
        listener?.(event);
      } catch {
        // Nobody to tell.
      }
    };
    const known = keeper();
    const { kind } = event;
    if (!isLogged(kind) || known === null) {
      notify();
      return;
    }
    const keep = () => {
      const body = JSON.stringify(toWire(event));
      const event_id = known.events.idOf(known.events.add(kind, body));
      const isTime = webhooks()
        ?.toldOf(kind)
        .map((webhook_id) => known.deliveries.add({ webhook_id, event_id, body }, now()));
      if (isTime?.includes(true)) for (const { id } of webhooks()!.list()) trim(known, id);
      const done = countsOf(event);
      if (done !== null) known.activity.add(done, now());
      known.afterCommit(notify);
    };
    if (known.isInTransaction) keep();
    // What happened is told also where it cannot be noted, as on a full disk.
    else void known.write(keep).catch(notify);
  };
}

function trim({ deliveries, receivers }: Keeper, webhookId: string): void {
  const dropped = deliveries.trim(webhookId);
  if (dropped > 0) receivers.drop(webhookId, dropped);
}

/** What happened is told also where the catalog cannot be asked. */
function ownerOf(keeper: Keeper | null, projectId: string): string | null {
  try {
    return keeper?.projects.ownerOf(projectId) ?? null;
  } catch {
    return null;
  }
}

/** Makes what handles errors of the background: each is told as a `problem`, and given to a listener. */
export function createOnProblem(
  tell: Tell,
  listener: ((error: unknown) => void) | undefined,
): (error: unknown) => void {
  return (error) => {
    if (error instanceof StorageError) {
      tell({ kind: 'problem', code: error.code, reason: error.message });
    } else {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      tell({ kind: 'problem', code: 'internal', reason });
    }
    try {
      listener?.(error);
    } catch {
      // Nobody to tell.
    }
  };
}
