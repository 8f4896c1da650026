import type { Catalog } from '../catalog/catalog.ts';
import type { LoggedEvent } from '../catalog/events.ts';

/** How often it is looked whether another process noted something, in milliseconds. */
const POLL_MS = 250;
/** What an id is made of: which log it is, and the number in it. */
const ID = /^([0-9a-f]{8})-(\d{1,15})$/;

/** An event that was kept: its id, its kind, and its text as JSON in the form of the wire. */
export type FeedEvent = Readonly<{ id: string; kind: string; body: string }>;

/** What comes after an event. */
export type FeedPage = Readonly<{
  /** After which event it begins. */
  from: string;
  events: readonly FeedEvent[];
  /** Up to where it was read: where to go on. */
  next: string;
  /** Whether events between are gone: there were more than are kept, or the catalog was made again. */
  missed: boolean;
}>;

/** What happened, of all processes that have this store open, in the order in which it was noted. */
export class EventFeed {
  readonly #catalog: Catalog;
  readonly #waiting = new Set<() => void>();
  #poll: NodeJS.Timeout | null = null;
  #seen = 0;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** The id of the last event: who goes on from there hears what comes. */
  last(): string {
    return this.#idOf(this.#catalog.events.last);
  }

  /** The id of the event before the last so many: who goes on from there hears them first. */
  before(count: number): string {
    const { last, first } = this.#catalog.events;
    return this.#idOf(Math.max(last - count, (first ?? last + 1) - 1));
  }

  /**
   * Events after one, the oldest first. Of an id that nobody knows, or that is too old, all that is kept.
   *
   * @param id of the event before
   */
  after(id: string, limit: number): FeedPage {
    const { events } = this.#catalog;
    const [, log, number] = ID.exec(id) ?? [];
    const { last } = events;
    const first = events.first ?? last + 1;
    const isKnown = log === events.logMark && Number(number) <= last;
    const from = isKnown ? Math.max(Number(number), first - 1) : first - 1;
    const found = events.after(from, limit);
    return {
      from: this.#idOf(from),
      events: found.map((event) => this.#eventOf(event)),
      next: this.#idOf(found.at(-1)?.id ?? Math.max(from, last)),
      missed: !isKnown || Number(number) < from,
    };
  }

  /**
   * Waits until there may be more than was there after an id.
   *
   * @param timeoutMs the longest wait
   * @param signal says that nobody waits any more
   * @returns whether there may be; else it took too long
   */
  async more(id: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted || this.last() !== id) return true;
    const woken = Promise.withResolvers<boolean>();
    const wake = () => woken.resolve(true);
    this.#waiting.add(wake);
    signal.addEventListener('abort', wake);
    const timer = setTimeout(() => woken.resolve(false), timeoutMs);
    this.#poll ??= setInterval(() => this.#look(), POLL_MS);
    try {
      return await woken.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      this.#waiting.delete(wake);
      if (this.#waiting.size === 0 && this.#poll !== null) {
        clearInterval(this.#poll);
        this.#poll = null;
      }
    }
  }

  /** Says that something was noted in this process. */
  readonly wake = (): void => {
    for (const wake of this.#waiting) wake();
  };

  #look(): void {
    try {
      const { last } = this.#catalog.events;
      if (last === this.#seen) return;
      this.#seen = last;
    } catch {
      // Who waits finds out why.
    }
    this.wake();
  }

  #idOf(number: number): string {
    return this.#catalog.events.idOf(number);
  }

  #eventOf({ id, kind, body }: LoggedEvent): FeedEvent {
    return { id: this.#idOf(id), kind, body };
  }
}
