/** What happens, as it happens: server-sent events. */
import type { Context, Handler } from 'hono';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import { parseId, StorageError } from '../contract.ts';
import { isLogged, LOGGED_KINDS } from '../events/events.ts';
import type { EventFeed, FeedEvent } from '../read/event-feed.ts';
import type { Storage } from '../storage/storage.ts';
import { readWhole } from './input.ts';

/** So many listen at once: each is asked for what it can take. */
const MAX_LISTENERS = 64;
/** So many of those that happened last may be asked for. */
const MOST_RECENT = 100;
/** Events that are read at once. */
const PAGE = 100;
/** How often something is sent where nothing happens, in milliseconds: proxies end what is silent. */
const HEARTBEAT_MS = 15_000;
/** After which time a listener that lost its connection comes again, in milliseconds. */
const RETRY_MS = 1000;
/** Told where events that a listener asks for are gone: it has to look at all anew. */
const MISSED = 'events.missed';

/**
 * `GET /v1/events?project&kinds&recent&last_event_id`: what happens from now on, or after the event whose id
 * the header `Last-Event-ID` or the query names; else with some that happened last before it.
 *
 * @param closing ends all streams
 */
export function streamEvents(storage: Storage, closing: AbortSignal): Handler {
  let listeners = 0;
  return (c) => {
    const wants = readFilter(c);
    const { events: feed } = storage;
    const after = c.req.header('last-event-id') ?? c.req.query('last_event_id');
    const recent = c.req.query('recent');
    const begin = () =>
      recent === undefined ? feed.last() : feed.before(readWhole('recent', recent, MOST_RECENT));
    const from = after ?? begin();
    if (listeners >= MAX_LISTENERS) {
      throw new StorageError(
        'unavailable',
        `Cannot listen to events: ${MAX_LISTENERS} do already, which is the limit. Close one`,
      );
    }
    listeners++;
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, closing]);
    return streamSSE(
      c,
      async (stream) => {
        stream.onAbort(() => gone.abort());
        try {
          // So that a listener knows that it is heard, and where it is.
          await stream.writeSSE({ event: 'events.open', data: '{}', id: from, retry: RETRY_MS });
          await follow(feed, from, wants, stream, signal);
        } finally {
          listeners--;
        }
      },
      // A catalog that is closed or busy: who listens comes again.
      async () => {},
    );
  };
}

async function follow(
  feed: EventFeed,
  from: string,
  wants: (event: FeedEvent) => boolean,
  stream: SSEStreamingApi,
  signal: AbortSignal,
): Promise<void> {
  let at = from;
  while (!signal.aborted) {
    const page = feed.after(at, PAGE);
    if (page.missed) await stream.writeSSE({ event: MISSED, data: '{}', id: page.from });
    for (const event of page.events) {
      if (!wants(event)) continue;
      await stream.writeSSE({ event: event.kind, data: event.body, id: event.id });
      if (signal.aborted) return;
    }
    at = page.next;
    if (page.events.length > 0) continue;
    // Who wants few of them learns how far all of them are.
    if (!(await feed.more(at, HEARTBEAT_MS, signal))) await stream.write(`id: ${at}\n\n`);
  }
}

/** @throws StorageError `invalid_input` */
function readFilter(c: Context): (event: FeedEvent) => boolean {
  const { kinds, project } = c.req.query();
  const named = kinds?.split(',');
  const unknown = named?.find((kind) => !isLogged(kind));
  if (unknown !== undefined) {
    throw new StorageError(
      'invalid_input',
      `Cannot use the request: kinds: there is no ${JSON.stringify(unknown.slice(0, 100))}; there are ${LOGGED_KINDS.join(', ')}`,
    );
  }
  const id = project === undefined ? null : parseId(project, 'project id');
  return ({ kind, body }) => {
    if (named !== undefined && !named.includes(kind)) return false;
    return id === null || (JSON.parse(body) as { project_id?: string }).project_id === id;
  };
}
