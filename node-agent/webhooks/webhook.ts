import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { StorageError } from '../contract.ts';
import { isLogged, LOGGED_KINDS } from '../events/events.ts';
import { isPrivate } from './address.ts';

/** Who is told of what happens, and of what: as it is kept, in a file of its own. */
export const WebhookSchema = v.object({
  id: v.pipe(v.string(), v.regex(/^wh_[0-9a-f]{12}$/)),
  url: v.pipe(v.string(), v.url()),
  /** Signs what is sent: `whsec_` and 24 bytes in base64. */
  secret: v.pipe(v.string(), v.regex(/^whsec_[A-Za-z0-9+/]{32}$/)),
  /** The kinds of events; `null`: all. */
  kinds: v.nullable(v.array(v.string())),
  /** Whether it may be in a network of ours. */
  allowPrivate: v.boolean(),
  /** In ISO 8601. */
  createdAt: v.string(),
  /** Why nothing is sent any more; `null` where it is. */
  disabled: v.nullable(v.string()),
});

export type Webhook = Readonly<v.InferOutput<typeof WebhookSchema>>;

/** What a webhook is made of. */
export type WebhookInput = Readonly<{
  /** Of https; of http only where private addresses are allowed. */
  url: string;
  /** @default all */
  kinds?: readonly string[];
  /** Whether it may lead to an address that only this host or its network reaches. @default false */
  allowPrivate?: boolean;
}>;

const MAX_URL = 2048;

/** @throws StorageError `invalid_input` */
export function createWebhook(input: WebhookInput, now: number): Webhook {
  const { allowPrivate = false } = input;
  return {
    id: `wh_${randomBytes(6).toString('hex')}`,
    url: parseUrl(input.url, allowPrivate),
    secret: `whsec_${randomBytes(24).toString('base64')}`,
    kinds: input.kinds === undefined ? null : parseKinds(input.kinds),
    allowPrivate,
    createdAt: new Date(now).toISOString(),
    disabled: null,
  };
}

/** What may be told of a webhook: its path and query may hold a token. */
export function nameOf({ id, url }: Pick<Webhook, 'id' | 'url'>): string {
  return `webhook ${id} (${new URL(url).origin})`;
}

function parseKinds(kinds: readonly string[]): string[] {
  const unknown = kinds.find((kind) => !isLogged(kind));
  if (unknown !== undefined || kinds.length === 0) {
    const named = JSON.stringify(unknown?.slice(0, 100) ?? '');
    throw refused(`there is no event ${named}; there are ${LOGGED_KINDS.join(', ')}`);
  }
  return [...new Set(kinds)];
}

function parseUrl(text: string, allowPrivate: boolean): string {
  const url = text.length <= MAX_URL && URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw refused(`its URL must be one of https, with at most ${MAX_URL} characters`);
  }
  if (url.username + url.password !== '') {
    throw refused('its URL holds a user or a password: what is sent is signed instead');
  }
  if (url.hash !== '') throw refused('its URL has a fragment, which no receiver sees');
  if (!allowPrivate && url.protocol === 'http:') {
    throw refused(
      'its URL is of http, by which anybody reads along: use https. To a network of your own it may be, with --allow-private',
    );
  }
  if (!allowPrivate && isPrivate(url.hostname)) {
    throw refused(`${url.hostname} is a private address: add it with --allow-private`);
  }
  return url.href;
}

const refused = (why: string) => new StorageError('invalid_input', `Cannot add a webhook: ${why}`);
