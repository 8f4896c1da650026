import { type BigIntStats, readdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { makeFolder, syncPath, writeFileDurably } from '../store/durable.ts';
import type { Layout } from '../store/layout.ts';
import { readText } from '../store/read-text.ts';
import type { Staging } from '../store/staging.ts';
import { type Webhook, WebhookSchema } from './webhook.ts';

/** So many there may be: each event is written down for each. */
const MAX_WEBHOOKS = 20;
/** A folder that changed so lately may change again without another time of change, in milliseconds. */
const SAME_TIME_MS = 100;

/**
 * Who is told of what: a file each, for the catalog can be lost. Any process that notes an event looks here
 * for whom it is owed to.
 */
export class WebhookFiles {
  readonly #layout: Layout;
  readonly #staging: Staging;
  #known: readonly Webhook[] = [];
  /** The time of change of the folder at which that was all. */
  #knownAt: bigint | null = null;

  constructor(layout: Layout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /** All that can be read, the oldest first. Never throws. */
  list(): readonly Webhook[] {
    const folder = this.#stat();
    if (folder === null) return [];
    if (folder.mtimeNs === this.#knownAt) return this.#known;
    const isSettled = Date.now() - Number(folder.mtimeMs) > SAME_TIME_MS;
    this.#known = this.#names().flatMap((name) => this.#read(name) ?? []);
    this.#known = this.#known.toSorted(
      (a, b) => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id),
    );
    this.#knownAt = isSettled ? folder.mtimeNs : null;
    return this.#known;
  }

  /** `null` where it is not there, or cannot be looked at: no save fails for that. */
  #stat(): BigIntStats | null {
    try {
      return statSync(this.#layout.webhooks, { bigint: true, throwIfNoEntry: false }) ?? null;
    } catch {
      return null;
    }
  }

  /** The ids of those that are told of events of a kind. Never throws. */
  toldOf(kind: string): string[] {
    return this.list().flatMap(({ id, kinds, disabled }) =>
      disabled === null && (kinds === null || kinds.includes(kind)) ? [id] : [],
    );
  }

  /** Files that hold no webhook: cut short, or put there by somebody. */
  unreadable(): string[] {
    return this.#names().flatMap((name) =>
      this.#read(name) === null ? [join(this.#layout.webhooks, name)] : [],
    );
  }

  /** @throws StorageError `not_found` */
  find(id: string): Webhook {
    const found = this.list().find((webhook) => webhook.id === id);
    if (found !== undefined) return found;
    const there = this.list().map((webhook) => webhook.id);
    const known = there.length === 0 ? 'there is none' : `there are ${there.join(', ')}`;
    throw new StorageError('not_found', `Cannot find webhook ${JSON.stringify(id)}: ${known}`);
  }

  /**
   * Adds one, or puts it in the place of what had its id.
   *
   * @throws StorageError `too_large` where there are too many, `disk_full` and what else keeps it from lasting
   */
  async put(webhook: Webhook): Promise<void> {
    const others = this.list().filter(({ id }) => id !== webhook.id);
    if (others.length >= MAX_WEBHOOKS) {
      throw new StorageError(
        'too_large',
        `Cannot add a webhook: there are ${others.length}, which is the limit. Remove one`,
      );
    }
    try {
      await makeFolder(this.#layout.webhooks, this.#layout.own);
      const text = `${JSON.stringify(webhook, null, 2)}\n`;
      const place = this.#pathOf(webhook.id);
      await writeFileDurably(place, text, this.#staging.pathToPlace());
    } catch (error) {
      throw fromFileSystem(error, 'keep the webhook');
    }
    this.#knownAt = null;
  }

  /** @throws StorageError `not_found` */
  async remove(id: string): Promise<void> {
    const { id: known } = this.find(id);
    try {
      await rm(this.#pathOf(known), { force: true });
      await syncPath(this.#layout.webhooks);
    } catch (error) {
      throw fromFileSystem(error, 'remove the webhook');
    }
    this.#knownAt = null;
  }

  #pathOf(id: string): string {
    return join(this.#layout.webhooks, `${id}.json`);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#layout.webhooks).slice(0, MAX_WEBHOOKS);
    } catch {
      return [];
    }
  }

  #read(name: string): Webhook | null {
    try {
      const text = readText(this.#layout, join(this.#layout.webhooks, name));
      const parsed = v.safeParse(WebhookSchema, JSON.parse(text ?? ''));
      return parsed.success && name === `${parsed.output.id}.json` ? parsed.output : null;
    } catch {
      return null;
    }
  }
}
