import type { Readable } from 'node:stream';

/**
 * What a stream of Node's gives, asked for piece by piece. Who goes away ends it. (`Readable.toWeb` adds
 * to what was cancelled, which ends the process.)
 */
export function webStreamOf(readable: Readable): ReadableStream<Uint8Array> {
  const pieces: AsyncIterator<Uint8Array> = readable[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel() {
        readable.destroy();
      },
    },
    { highWaterMark: 0 },
  );
}
