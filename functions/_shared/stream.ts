/**
 * Makes a stream of what a generator yields, asked for one by one: nothing is made ahead of who
 * reads it, and who stops reading ends the generator.
 */
export function streamOf<T>(items: AsyncGenerator<T>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const { done, value } = await items.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await items.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * Reads a content to its end.
 *
 * @param size bytes of it
 */
export async function readBytes(
  body: AsyncIterable<Uint8Array>,
  size: number,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return concatBytes(pieces, size);
}

/** @param bytes of all pieces together */
export function concatBytes(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  let offset = 0;
  for (const piece of pieces) {
    all.set(piece, offset);
    offset += piece.length;
  }
  return all;
}
