/** What happens at the daemon, as it happens. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { LoggedKind } from '../events/events.ts';
import { authorization, Refused, wantsToken } from './api.ts';

/** An event, as the daemon sends it. */
export type Happened = Readonly<{
  id: string;
  kind: LoggedKind;
  at: string;
  project_id?: string;
  version?: number;
  reason?: string;
  bytes?: number;
  files?: number;
  ms?: number;
}>;

export type LiveState = 'connecting' | 'live' | 'away';

/** Those that happened last come first, to be shown. */
const RECENT = '?recent=30';
/** So many are remembered. */
const MOST = 100;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
/** The daemon says something every 15 seconds: where it does not, the connection is dead. */
const SILENCE_MS = 40_000;

/** Listens to the daemon, and comes again after each interruption. */
export class Live {
  state: LiveState = 'connecting';
  /** Since when it is as it is, in milliseconds. */
  since = Date.now();
  /** The newest first. */
  happened: readonly Happened[] = [];
  /** Goes up with each event, and where some were missed. */
  count = 0;
  readonly #listeners = new Set<() => void>();
  readonly #stopping = new AbortController();
  #lastId: string | null = null;

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop(): void {
    this.#stopping.abort();
  }

  async run(): Promise<void> {
    const { signal } = this.#stopping;
    for (
      let pause = FIRST_PAUSE_MS;
      !signal.aborted;
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
    ) {
      try {
        await this.#follow(() => {
          pause = FIRST_PAUSE_MS;
        });
      } catch (error) {
        if (wantsToken(error)) return;
      }
      if (signal.aborted) return;
      this.#change({ state: 'away' });
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
    }
  }

  async #follow(begun: () => void): Promise<void> {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), SILENCE_MS);
    const signal = AbortSignal.any([this.#stopping.signal, silent.signal]);
    const last: Record<string, string> =
      this.#lastId === null ? {} : { 'last-event-id': this.#lastId };
    try {
      const answer = await fetch(`/v1/events${RECENT}`, {
        headers: { ...authorization(), ...last },
        signal,
      });
      if (!answer.ok || answer.body === null) throw new Refused(answer.status, 'no events');
      begun();
      const told = answer.body
        .pipeThrough(
          new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>,
        )
        .pipeThrough(
          new TransformStream<string, string>({
            transform(text, out) {
              clearTimeout(timer);
              timer = setTimeout(() => silent.abort(), SILENCE_MS);
              out.enqueue(text);
            },
          }),
        )
        .pipeThrough(new EventSourceParserStream());
      const reader = told.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        if (value.id !== undefined) this.#lastId = value.id;
        this.#take(value.event, value.data, value.id ?? '');
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(kind: string | undefined, data: string, id: string): void {
    if (kind === 'events.open') this.#change({ state: 'live' });
    else if (kind === 'events.missed') this.#change({ count: this.count + 1 });
    else {
      const happened = { ...(JSON.parse(data) as Happened), id };
      this.#change({
        count: this.count + 1,
        happened: [happened, ...this.happened].slice(0, MOST),
      });
    }
  }

  #change(changed: Partial<Pick<Live, 'state' | 'count' | 'happened'>>): void {
    if (changed.state !== undefined && changed.state !== this.state) this.since = Date.now();
    Object.assign(this, changed);
    for (const listener of this.#listeners) listener();
  }
}
