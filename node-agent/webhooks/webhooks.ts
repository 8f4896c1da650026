import type { Catalog } from '../catalog/catalog.ts';
import type { StorageError } from '../contract.ts';
import { checkWritable } from '../disk/check-writable.ts';
import type { Courier } from './courier.ts';
import { testMessage } from './message.ts';
import { send } from './send.ts';
import { createWebhook, type Webhook, type WebhookInput } from './webhook.ts';
import type { WebhookFiles } from './webhook-files.ts';

/** A webhook, and how it is: what is owed to it since when, and why its receiver does not take it. */
export type WebhookStatus = Readonly<
  Omit<Webhook, 'secret'> & {
    owed: number;
    parked: number;
    /** From when on the oldest is owed that is not parked, in ISO 8601. */
    since: string | null;
    failure: string | null;
    /** Events that it was not told, for too much was owed to it. */
    dropped: number;
  }
>;

type Parts = Readonly<{
  catalog: Catalog;
  files: WebhookFiles;
  courier: Courier;
  unwritable: StorageError | null;
  now: () => number;
  answerMs: number;
}>;

/** Who is told of what happens. */
export class Webhooks {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Has a URL told of what happens from now on.
   *
   * @returns it, with the secret that signs what is sent: it is shown this once
   * @throws StorageError `invalid_input`, `too_large` where there are too many
   */
  async add(input: WebhookInput): Promise<Webhook> {
    checkWritable(this.#parts.unwritable, 'add a webhook');
    const webhook = createWebhook(input, this.#parts.now());
    await this.#parts.files.put(webhook);
    return webhook;
  }

  /** All of them, the oldest first. */
  list(): WebhookStatus[] {
    const { catalog, files } = this.#parts;
    const counts = catalog.deliveries.counts();
    return files.list().map(({ secret: _, ...webhook }) => {
      const { owed = 0, parked = 0, since = null } = counts.get(webhook.id) ?? {};
      const { failure, dropped } = catalog.receivers.find(webhook.id);
      const why = parked > 0 ? catalog.deliveries.whyParked(webhook.id) : null;
      return {
        ...webhook,
        owed,
        parked,
        since: since === null ? null : new Date(since).toISOString(),
        failure: webhook.disabled ?? failure ?? why,
        dropped,
      };
    });
  }

  /** Files that lie among the webhooks and hold none. */
  unreadable(): string[] {
    return this.#parts.files.unreadable();
  }

  /**
   * Sends a message that says that it is a test, now and once.
   *
   * @returns how long it took, in milliseconds; and why it was not taken
   * @throws StorageError `not_found`
   */
  async test(id: string): Promise<{ ms: number; failure: string | null }> {
    const { files, now, answerMs } = this.#parts;
    const webhook = files.find(id);
    const begun = performance.now();
    const message = testMessage(webhook, now());
    const refusal = await send(webhook, message, {
      now: now(),
      answerMs,
      signal: new AbortController().signal,
    });
    return { ms: Math.round(performance.now() - begun), failure: refusal?.reason ?? null };
  }

  /**
   * Has tried again at once what waits and what was parked, also where the receiver said that it is gone.
   *
   * @param id one webhook; `null`: all
   * @returns how many were parked
   * @throws StorageError `not_found`
   */
  async retry(id: string | null): Promise<number> {
    const { catalog, files, courier, now, unwritable } = this.#parts;
    checkWritable(unwritable, 'try webhooks again');
    const chosen = id === null ? files.list() : [files.find(id)];
    for (const webhook of chosen) {
      if (webhook.disabled !== null) await files.put({ ...webhook, disabled: null });
    }
    const retried = await catalog.write(() => {
      for (const webhook of chosen) catalog.receivers.recover(webhook.id);
      return chosen
        .map((webhook) => catalog.deliveries.restart(webhook.id, now()))
        .reduce((sum, count) => sum + count, 0);
    });
    courier.wake();
    return retried;
  }

  /**
   * Tells it nothing more: what is owed to it is dropped.
   *
   * @throws StorageError `not_found`
   */
  async remove(id: string): Promise<void> {
    const { catalog, files, unwritable } = this.#parts;
    checkWritable(unwritable, 'remove a webhook');
    await files.remove(id);
    await catalog.write(() => {
      catalog.deliveries.dropAll(id);
      catalog.receivers.forget(id);
    });
  }

  /** Waits until what can be told now is. @param timeoutMs the longest wait */
  async drain(timeoutMs: number): Promise<void> {
    await this.#parts.courier.drain(timeoutMs);
  }
}
