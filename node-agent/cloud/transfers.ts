import { makeThreads } from '../threads.ts';
import { noteRetryAfter } from './retry-after.ts';
import type { Answer, ReceiveInput, SendInput, Transferred } from './transfer-worker.ts';

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

  /** @param signal ends every transfer, for good */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => void this.#pool.destroy(), { once: true });
  }

  /** Downloads into a new file, or nowhere, and hashes on the way. */
  receive(input: ReceiveInput): Promise<Answer & { sha256: string }> {
    return this.#run('receive', input);
  }

  /** Sends a part of a file as the body of a request. */
  send(input: SendInput): Promise<Answer> {
    return this.#run('send', input);
  }

  async #run<T extends Answer>(name: string, input: unknown): Promise<T> {
    this.#signal.throwIfAborted();
    const done = (await this.#pool.run(input, { name }).catch((error: unknown) => {
      this.#signal.throwIfAborted();
      throw error;
    })) as Transferred<T>;
    if ('value' in done) {
      noteRetryAfter(done.value.headers['retry-after'] ?? null);
      return done.value;
    }
    const { message, ...details } = done.failure;
    throw Object.assign(new Error(message), details);
  }
}
