/**
 * Runs actors one at a time, step by step, in an order that is given. An actor stops before each
 * request that it sends, and before each thing that it begins; what goes on then is one of the
 * choices of the schedule.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** What becomes of a request that an actor is about to send. */
export type Fault =
  | 'none'
  /** It is carried out, its answer lost. */
  | 'lost'
  /** It is held up: the sender gives up, and it is carried out later. */
  | 'late'
  /** It is carried out, and its sender's host dies before the answer arrives. */
  | 'crash'
  /** It is held up, its sender's host dies, and it is carried out later. */
  | 'late-crash';

/** At step `at` the schedule takes alternative `take` instead of the first. */
export type Deviation = Readonly<{ at: number; take: number }>;

type Choice = Readonly<{ name: string; run: () => Promise<void> }>;

type Gate = {
  label: string;
  /** Whether it is a request, of which things may become. */
  send: (() => Promise<Response>) | null;
  open: (result: Response | null) => void;
  fail: (error: unknown) => void;
};

type Actor = {
  name: string;
  host: string;
  gate: Gate | null;
  isDone: boolean;
  /** Resolved whenever it stops at a gate, or ends. */
  stopped: PromiseWithResolvers<void>;
};

/** What a step of the run was, for people. */
export type Trace = readonly string[];

const NETWORK_ERROR = () => new TypeError('fetch failed');

export class Schedule {
  readonly trace: string[] = [];
  /** Of each step, how many alternatives it had. */
  readonly widths: number[] = [];
  readonly #deviations: Map<number, number>;
  readonly #actors: Actor[] = [];
  readonly #context = new AsyncLocalStorage<Actor>();
  readonly #late: Choice[] = [];
  readonly #crash: (host: string) => Promise<void>;
  readonly #faults: readonly Fault[];
  #current: Actor | null = null;
  #isFree = false;

  /** @param crash ends a host at once: whatever it waits for fails */
  constructor(
    deviations: readonly Deviation[],
    faults: readonly Fault[],
    crash: (host: string) => Promise<void>,
  ) {
    this.#deviations = new Map(deviations.map(({ at, take }) => [at, take]));
    this.#faults = faults;
    this.#crash = crash;
  }

  /** Adds an actor. It does not begin before its first step is chosen. */
  add(name: string, host: string, work: () => Promise<void>): void {
    const actor: Actor = {
      ...{ name, host, gate: null, isDone: false },
      stopped: Promise.withResolvers<void>(),
    };
    this.#actors.push(actor);
    void this.#context
      .run(actor, async () => {
        await this.begin('begin');
        await work();
      })
      .catch((error: unknown) => this.trace.push(`${name} ended: ${error}`))
      .finally(() => {
        actor.isDone = true;
        actor.stopped.resolve();
      });
  }

  /** Stops the actor that calls it until the schedule lets it go on. */
  async begin(label: string): Promise<void> {
    await this.#stop(label, null, null);
  }

  /** Stops the actor that calls it before it sends a request, and gives the answer. */
  async send(label: string, send: () => Promise<Response>, signal?: AbortSignal | null) {
    if (this.#isFree) return send();
    return (await this.#stop(label, send, signal ?? null))!;
  }

  #stop(
    label: string,
    send: (() => Promise<Response>) | null,
    signal: AbortSignal | null,
  ): Promise<Response | null> {
    const actor = this.#context.getStore();
    if (this.#isFree || actor === undefined) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      actor.gate = { label, send, open: resolve, fail: reject };
      actor.stopped.resolve();
    });
  }

  /** Runs all actors to their ends, then what was held up. */
  async run(): Promise<void> {
    for (let step = 0; ; step++) {
      const choices = this.#choices();
      if (choices.length === 0) break;
      this.widths.push(choices.length);
      const choice = choices[this.#deviations.get(step) ?? 0] ?? choices[0]!;
      this.trace.push(`${step}: ${choice.name}`);
      await choice.run();
    }
    this.#isFree = true;
  }

  #choices(): Choice[] {
    const waiting = this.#actors.filter((actor) => !actor.isDone && actor.gate !== null);
    const first = waiting.find((actor) => actor === this.#current) ?? waiting[0];
    const others = waiting.filter((actor) => actor !== first);
    const inOrder = first === undefined ? [] : [first, ...others];
    const going = inOrder.map((actor) => this.#goOn(actor, 'none'));
    const faulty =
      first?.gate?.send == null ? [] : this.#faults.map((fault) => this.#goOn(first, fault));
    return [...going, ...this.#late, ...faulty];
  }

  #goOn(actor: Actor, fault: Fault): Choice {
    const gate = actor.gate!;
    const name = `${actor.name} ${gate.label}${fault === 'none' ? '' : ` (${fault})`}`;
    return {
      name,
      run: async () => {
        this.#current = actor;
        actor.gate = null;
        actor.stopped = Promise.withResolvers<void>();
        await this.#carryOut(actor, gate, fault, name);
        await actor.stopped.promise;
      },
    };
  }

  async #carryOut(actor: Actor, gate: Gate, fault: Fault, name: string): Promise<void> {
    const { send } = gate;
    if (send === null) return gate.open(null);
    if (fault === 'late' || fault === 'late-crash') {
      const late: Choice = {
        name: `${name} arrives`,
        run: async () => {
          this.#late.splice(this.#late.indexOf(late), 1);
          await send();
        },
      };
      this.#late.push(late);
    }
    const answer = fault.startsWith('late') ? null : await send();
    if (fault === 'crash' || fault === 'late-crash') await this.#end(actor);
    if (fault === 'none') gate.open(answer);
    else gate.fail(NETWORK_ERROR());
  }

  /** Ends the host of an actor: requests of others on it fail too, and they stop elsewhere. */
  async #end(actor: Actor): Promise<void> {
    const others = this.#actors.filter(
      (other) => other !== actor && other.host === actor.host && other.gate?.send != null,
    );
    for (const other of others) {
      other.gate = null;
      other.stopped = Promise.withResolvers<void>();
    }
    await this.#crash(actor.host);
    await Promise.all(others.map((other) => other.stopped.promise));
  }
}

/** `12.3 40.1`: how a schedule is written down. */
export function printDeviations(deviations: readonly Deviation[]): string {
  return deviations.map(({ at, take }) => `${at}.${take}`).join(' ');
}

export function parseDeviations(text: string): Deviation[] {
  return text
    .split(' ')
    .filter((part) => part !== '')
    .map((part) => {
      const [at, take] = part.split('.').map(Number);
      return { at: at!, take: take! };
    });
}
