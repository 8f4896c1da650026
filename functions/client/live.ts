/** What Supabase Realtime tells the owner of a generation, where it is there. */

/** What of a supabase-js client is needed: it takes the user's token along by itself. */
export type Live = Readonly<{
  channel(topic: string, options: { config: { private: boolean } }): LiveChannel;
  removeChannel(channel: LiveChannel): unknown;
}>;

type LiveChannel = {
  on(type: 'broadcast', filter: { event: string }, told: (message: Message) => void): LiveChannel;
  subscribe(told: (state: string) => void): unknown;
};

type Message = { payload?: { project_id?: unknown; version?: unknown } };

/** Somebody who waits for what becomes of a generation. */
type Listener = Readonly<{ project: string; version: number; wake: () => void }>;

/** Listens for as long as anybody waits: once for all, for a topic can be listened to only once. */
export class LiveUpdates {
  readonly #live: Live;
  readonly #listeners = new Set<Listener>();
  #topic: string | null = null;
  #channel: LiveChannel | null = null;
  #isOn = false;

  constructor(live: Live) {
    this.#live = live;
  }

  /** Whether what happens is told: else whoever waits has to ask. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /**
   * Has somebody woken by what becomes of a generation, and where this begins or ends to be told. Nobody waits
   * for the token.
   *
   * @param getToken of the user: it says whose updates these are; where it does not, nothing is told
   * @returns what ends it
   */
  listen(listener: Listener, getToken: () => string | null | Promise<string | null>): () => void {
    this.#listeners.add(listener);
    const begin = async () => {
      const user = userOf(await getToken());
      if (user !== null && this.#listeners.has(listener)) this.#open(`storage:${user}`);
    };
    // Whoever asks without one is told why.
    begin().catch(() => {});
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#close();
    };
  }

  #open(topic: string): void {
    if (topic === this.#topic) return;
    this.#close();
    this.#topic = topic;
    try {
      const channel = this.#live.channel(topic, { config: { private: true } });
      this.#channel = channel;
      channel.on('broadcast', { event: '*' }, ({ payload }) => {
        for (const { project, version, wake } of this.#listeners) {
          if (payload?.project_id === project && payload.version === version) wake();
        }
      });
      channel.subscribe((state) => {
        if (channel === this.#channel) this.#turn(state === 'SUBSCRIBED');
      });
    } catch {
      // Then it is asked for.
      this.#turn(false);
    }
  }

  #turn(isOn: boolean): void {
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    // What happened before is not told.
    for (const { wake } of this.#listeners) wake();
  }

  #close(): void {
    const channel = this.#channel;
    [this.#channel, this.#topic, this.#isOn] = [null, null, false];
    if (channel !== null) void this.#live.removeChannel(channel);
  }
}

/** The `sub` of a JWT; `null` where there is none. Nobody is let in by it. */
function userOf(token: string | null): string | null {
  try {
    const claims = token?.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/');
    const { sub } = JSON.parse(atob(claims ?? '')) as { sub?: unknown };
    return typeof sub === 'string' ? sub : null;
  } catch {
    return null;
  }
}
