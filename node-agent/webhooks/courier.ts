import type { Catalog } from '../catalog/catalog.ts';
import type { Delivery } from '../catalog/deliveries.ts';
import type { Instance } from '../catalog/instance.ts';
import { StorageError } from '../contract.ts';
import { within } from '../threads/within.ts';
import { messageOf } from './message.ts';
import { LONGEST_ASKED_MS, PARK_AFTER_FAILURES, PARK_AFTER_MS, waitMs } from './retries.ts';
import { type Refusal, send } from './send.ts';
import { nameOf, type Webhook } from './webhook.ts';
import type { WebhookFiles } from './webhook-files.ts';

/** So many are sent to one receiver at once; to one that failed one, until it takes that. */
const AT_ONCE = 4;
/** How often other processes' events and leases are looked for, in milliseconds. */
const POLL_MS = 2000;
/** What failed so often is not sent at once because others got through. */
const OFTEN = 5;

type Parts = Readonly<{
  catalog: Catalog;
  instance: Instance;
  files: WebhookFiles;
  /** The time of day, in milliseconds. */
  now: () => number;
  random: () => number;
  /** How long a receiver may take to answer, in milliseconds. */
  answerMs: number;
  onProblem: (error: unknown) => void;
}>;

/**
 * Tells receivers what is owed to them, in the background, for as long as it is started: each event at least
 * once, mostly in their order. One receiver that is away keeps none of the others waiting.
 */
export class Courier {
  readonly #parts: Parts;
  readonly #stopping = new AbortController();
  readonly #sending = new Map<Promise<void>, Delivery>();
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> | null = null;
  #again = false;
  #tookBackAt = Number.NEGATIVE_INFINITY;
  #idle: (() => void)[] = [];

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Looks for what is due now. Never throws. */
  wake(): void {
    this.#again = true;
    if (this.#turn !== null || this.#stopping.signal.aborted) return;
    this.#turn = this.#turns()
      .then(() => this.#untilDue())
      .catch((error: unknown) => {
        // A catalog that is busy, or on a full disk, is looked at again later.
        this.#parts.onProblem(error);
        return POLL_MS;
      })
      .then((ms) => {
        this.#turn = null;
        if (this.#sending.size === 0) for (const done of this.#idle.splice(0)) done();
        this.#schedule(ms);
      });
  }

  /** Waits until nothing is left that could be told now. @param timeoutMs the longest wait */
  async drain(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    this.wake();
    await within(timeoutMs, promise);
  }

  /** Stops: what is being sent is given up, and stays owed. */
  async stop(): Promise<void> {
    this.#stopping.abort(new StorageError('unavailable', 'The agent is shutting down'));
    await this.#turn;
    await Promise.all(this.#sending.keys());
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const done of this.#idle.splice(0)) done();
  }

  async #turns(): Promise<void> {
    while (this.#again && !this.#stopping.signal.aborted) {
      this.#again = false;
      const webhooks = this.#parts.files.list();
      if (webhooks.length === 0) return;
      await this.#takeBack();
      for (const webhook of webhooks) {
        if (webhook.disabled === null) await this.#startDue(webhook);
      }
    }
  }

  /** From processes that ended, and from ourselves what could not be written down; and after a clock was set. */
  async #takeBack(): Promise<void> {
    const { catalog, instance, now } = this.#parts;
    if (performance.now() - this.#tookBackAt < POLL_MS) return;
    this.#tookBackAt = performance.now();
    const own = new Set([...this.#sending.values()].map(({ id }) => id));
    const ended = new Map<string, boolean>();
    await catalog.write(() => {
      catalog.deliveries.free(({ id, leased_by: by }) => {
        if (by === instance.id) return !own.has(id);
        if (!ended.has(by)) ended.set(by, instance.isGone(by));
        return ended.get(by)!;
      });
      const latest = now() + LONGEST_ASKED_MS;
      catalog.deliveries.adjustDue(latest);
      catalog.receivers.adjustWait(latest);
    });
  }

  async #startDue(webhook: Webhook): Promise<void> {
    const { catalog, instance, now } = this.#parts;
    const { failures, wait_until: waitUntil } = catalog.receivers.find(webhook.id);
    const room = (failures > 0 ? 1 : AT_ONCE) - this.#sendingTo(webhook);
    const due = catalog.deliveries.nextDue(webhook.id);
    if (room <= 0 || due === null || due > now() || waitUntil > now()) return;
    const claimed = await catalog.write(() =>
      catalog.deliveries.claim(webhook.id, room, instance.id, now()),
    );
    for (const delivery of claimed) {
      const sent = this.#send(webhook, delivery)
        .catch(this.#parts.onProblem)
        .finally(() => {
          this.#sending.delete(sent);
          this.wake();
        });
      this.#sending.set(sent, delivery);
    }
  }

  async #send(webhook: Webhook, delivery: Delivery): Promise<void> {
    const { catalog, now, answerMs } = this.#parts;
    const { signal } = this.#stopping;
    const options = { now: now(), answerMs, signal };
    let refusal: Refusal | null;
    try {
      refusal = await send(webhook, messageOf(delivery), options);
    } catch {
      // It ends: what is sent twice has the same id.
      await catalog.write(() => catalog.deliveries.release(delivery.id));
      return;
    }
    if (refusal?.concerns === 'gone') await this.#disable(webhook, refusal);
    const told = await catalog.write(() => this.#settle(webhook, delivery, refusal));
    if (told !== null) this.#parts.onProblem(told);
  }

  /** @returns what somebody should hear of */
  #settle(webhook: Webhook, delivery: Delivery, refusal: Refusal | null): StorageError | null {
    const { catalog, now, random } = this.#parts;
    const { deliveries, receivers } = catalog;
    const { failures } = receivers.find(webhook.id);
    if (refusal === null) {
      deliveries.end(delivery.id);
      receivers.recover(webhook.id);
      // One that is refused whenever it comes has its own wait.
      if (failures > 0) deliveries.hasten(webhook.id, now(), OFTEN);
      return null;
    }
    const { reason, concerns, retryAfterMs } = refusal;
    if (concerns === 'receiver') {
      receivers.fail(webhook.id, now() + waitMs(failures, random(), retryAfterMs), reason);
    }
    const isOld = now() - delivery.since >= PARK_AFTER_MS;
    // After a long while off, or a clock that was set, the first failure is no reason.
    const wasTried = Math.max(failures, delivery.attempts) >= PARK_AFTER_FAILURES;
    if ((isOld && wasTried) || concerns === 'gone') {
      deliveries.park(delivery.id, reason);
      if (concerns === 'gone') deliveries.parkAll(webhook.id, reason);
      return asError(webhook, `${reason}. It is parked`);
    }
    const wait = waitMs(delivery.attempts, random(), retryAfterMs);
    deliveries.retry(delivery.id, now() + wait, reason);
    // Of many that fail one after another the first says it.
    const isFirst = concerns === 'receiver' ? failures === 0 : delivery.attempts === 0;
    return isFirst ? asError(webhook, reason) : null;
  }

  /** Whoever answers that it is gone is told nothing more, until somebody has it tried again. */
  async #disable(webhook: Webhook, { reason }: Refusal): Promise<void> {
    const { files, onProblem } = this.#parts;
    const isThere = files.list().some(({ id }) => id === webhook.id);
    if (isThere) await files.put({ ...webhook, disabled: reason }).catch(onProblem);
  }

  #schedule(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#stopping.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), ms);
    this.#timer.unref();
  }

  #untilDue(): number {
    const { catalog, files, now } = this.#parts;
    const waits = files.list().flatMap((webhook) => {
      const due = catalog.deliveries.nextDue(webhook.id);
      const { wait_until: waitUntil } = catalog.receivers.find(webhook.id);
      // What ends wakes.
      const isOff = due === null || this.#sendingTo(webhook) > 0 || webhook.disabled !== null;
      return isOff ? [] : [Math.max(due, waitUntil) - now()];
    });
    return Math.max(1, Math.min(POLL_MS, ...waits));
  }

  #sendingTo({ id }: Webhook): number {
    return [...this.#sending.values()].filter((one) => one.webhook_id === id).length;
  }
}

/** @param reason why a receiver did not take something */
function asError(webhook: Webhook, reason: string): StorageError {
  return new StorageError('unavailable', `Cannot tell ${nameOf(webhook)}: ${reason}`);
}
