/** One memory that threads share: on its way to a worker each content would be copied by itself. */
export class SharedMemory {
  readonly #memory: Buffer;
  #at = 0;

  /** @param bytes of all that is kept there */
  constructor(bytes: number) {
    this.#memory = Buffer.from(new SharedArrayBuffer(bytes));
  }

  /** Copies a content into it, after those before. */
  keep(content: Uint8Array): Uint8Array {
    const kept = this.#memory.subarray(this.#at, this.#at + content.length);
    kept.set(content);
    this.#at += content.length;
    return kept;
  }
}
