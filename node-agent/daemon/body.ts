import { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from 'hono';
import { StorageError } from '../contract.ts';

/** Bytes of a refused body that are still read, ... */
const REST_BYTES = 16 * 1024 * 1024;
/** ... and how long, in milliseconds. */
const REST_MS = 1000;

/** The body of a request, as it arrives. Who stops reading leaves the rest where it is. */
export class RequestBody implements AsyncIterable<Uint8Array> {
  readonly #pieces: AsyncIterator<Uint8Array, unknown>;

  constructor(c: Context) {
    const { body } = c.req.raw;
    const stream =
      (body as ReadableStream<Uint8Array> | null) ?? ReadableStream.from<Uint8Array>([]);
    this.#pieces = stream.values({ preventCancel: true });
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, unknown> {
    return {
      next: () =>
        this.#pieces.next().catch((cause: unknown) => {
          const message = 'Cannot read the request: it was cut off';
          throw new StorageError('invalid_input', message, { cause });
        }),
    };
  }

  /**
   * As it arrives, for as long as it may take.
   *
   * @param deadline asked before each piece, in milliseconds of the clock that nobody sets
   * @throws StorageError `unavailable` where it takes longer
   */
  async *until(deadline: () => number): AsyncGenerator<Uint8Array, void> {
    const pieces = this[Symbol.asyncIterator]();
    for (;;) {
      const left = deadline() - performance.now();
      const next = pieces.next();
      const { done, value } = await (left === Number.POSITIVE_INFINITY ? next : within(next, left));
      if (done === true) return;
      yield value;
    }
  }

  /**
   * Reads what is left of a body that was refused, if that is not much: many programs look for an
   * answer only once they have sent all, and never see it where the connection is cut meanwhile.
   */
  async passOverRest(): Promise<void> {
    const read = async () => {
      let bytes = 0;
      for await (const piece of this) {
        bytes += piece.length;
        if (bytes > REST_BYTES) return;
      }
    };
    const ended = new AbortController();
    // What ends the connection is no matter any more.
    const wait = sleep(REST_MS, null, { signal: ended.signal }).catch(() => {});
    await Promise.race([read().catch(() => {}), wait]);
    ended.abort();
  }
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const ended = new AbortController();
  const late = sleep(Math.max(0, ms), null, { signal: ended.signal }).then(() => {
    throw new StorageError('unavailable', 'Cannot read the request: it takes too long to arrive');
  });
  late.catch(() => {});
  work.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    ended.abort();
  }
}
