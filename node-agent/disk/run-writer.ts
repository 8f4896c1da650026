import { write } from 'node:fs';
import { promisify } from 'node:util';

const writeFile = promisify(write);

/**
 * Writes one run of bytes to an open file, from a place on. They are copied and gathered first: what
 * the caller does with its memory afterwards does not matter, and the disk is asked seldom.
 */
export class RunWriter {
  readonly #fd: number;
  readonly #buffer: Buffer;
  /** Where in the file the buffer begins. */
  #start: number;
  #filled = 0;

  /** @param bytes how many are gathered at most */
  constructor(fd: number, position: number, bytes: number) {
    this.#fd = fd;
    this.#start = position;
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** Where in the file the next byte goes. */
  get position(): number {
    return this.#start + this.#filled;
  }

  /** @param copied told of each part as it is kept; good until it returns */
  async push(bytes: Uint8Array, copied: (part: Uint8Array) => void = () => {}): Promise<void> {
    for (let offset = 0; offset < bytes.length; ) {
      const given = bytes.subarray(offset, offset + this.#buffer.length - this.#filled);
      this.#buffer.set(given, this.#filled);
      copied(this.#buffer.subarray(this.#filled, this.#filled + given.length));
      this.#filled += given.length;
      offset += given.length;
      if (this.#filled === this.#buffer.length) await this.flush();
    }
  }

  /** Has the file hold all that was pushed. */
  async flush(): Promise<void> {
    for (let offset = 0; offset < this.#filled; ) {
      const left = this.#filled - offset;
      offset += (await writeFile(this.#fd, this.#buffer, offset, left, this.#start + offset))
        .bytesWritten;
    }
    this.#start += this.#filled;
    this.#filled = 0;
  }

  /** Leaves room after what was pushed, which somebody else fills. Returns where it begins. */
  async skip(bytes: number): Promise<number> {
    await this.flush();
    const begin = this.#start;
    this.#start += bytes;
    return begin;
  }

  /** Gives the memory back at once: the garbage collector lets 64 MB of such memory pile up. */
  close(): void {
    const memory = this.#buffer.buffer as ArrayBuffer;
    if (memory.byteLength > 0) memory.transfer(0);
  }
}
