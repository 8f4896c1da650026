import { makeThreads } from '../threads/pool.ts';
import { type Requester, requestBy } from './requests.ts';
import {
  type Answer,
  type ReceiveInput,
  receive,
  type SendInput,
  send,
  type Transferred,
} from './transfer-worker.ts';

/** Transfers wait for the network: a thread has room for many. */
const AT_ONCE = 32;
const THREADS = 2;
/** What a transfer keeps is little; with a larger heap V8 would keep its garbage for longer. */
const HEAP_MB = 48;

/** The threads that carry the bytes of archives. */
export class Transfers {
  readonly #pool = makeThreads('transfer-worker', import.meta.url, {
    maxThreads: THREADS,
    concurrentTasksPerWorker: AT_ONCE,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  readonly #signal: AbortSignal;
  readonly #request: Requester | null;

  /**
   * @param signal ends every transfer, for good
   * @param send what sends requests, in this thread; `null`: threads of their own
   */
  constructor(signal: AbortSignal, send: typeof fetch | null = null) {
    this.#signal = signal;
    this.#request = send === null ? null : requestBy(send);
    signal.addEventListener('abort', () => void this.#pool.close(), { once: true });
  }

  /** Downloads into a new file, or nowhere, and hashes on the way. */
  receive(input: ReceiveInput): Promise<Answer & { sha256: string }> {
    return this.#run('receive', input, receive);
  }

  /** Sends a part of a file as the body of a request. */
  send(input: SendInput): Promise<Answer> {
    return this.#run('send', input, send);
  }

  #ended(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([this.#signal, signal]);
  }

  async #run<I, T extends Answer>(
    name: string,
    input: I,
    here: (input: I, request: Requester) => Promise<Transferred<T>>,
  ): Promise<T> {
    this.#signal.throwIfAborted();
    const request = this.#request;
    const running: Promise<Transferred<T>> =
      request === null
        ? (this.#pool.run(input, { name }) as Promise<Transferred<T>>)
        : here(input, (asked) => request({ ...asked, signal: this.#ended(asked.signal) }));
    const done = await running.catch((error: unknown) => {
      this.#signal.throwIfAborted();
      throw error;
    });
    if ('value' in done) return done.value;
    const { message, ...details } = done.failure;
    throw Object.assign(new Error(message), details);
  }
}
