/**
 * A gzip of one member whose deflate blocks stand alone: each holds {@link BLOCK_BYTES} of the
 * input and ends with a full flush, so that `inflate(block + 03 00)` reads it without the rest.
 * Format: RFC 1952 (gzip), RFC 1951 (deflate); the trick is that of dictzip and pigz -i.
 */
import { constants, crc32, deflateRawSync } from 'node:zlib';

/** Bytes of input in one block. */
export const BLOCK_BYTES = 128 * 1024;

/** Level 9 costs 2 to 5 times as much for about one percent. */
const LEVEL = 6;
/** Holds a block that does not get smaller, in one piece: never a part of a shared buffer. */
const OUTPUT_BYTES = BLOCK_BYTES + 16 * 1024;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
/** An empty block that is marked as the last one. */
const FINAL_BLOCK = Buffer.from([3, 0]);

export class BlockGzip {
  readonly #write: (bytes: Buffer) => void;
  readonly #block = Buffer.allocUnsafe(BLOCK_BYTES);
  #filled = 0;
  #crc = 0;
  #inputBytes = 0;
  #outputBytes = 0;
  readonly #offsets: number[] = [];

  /** @param write takes the output piece by piece; each is good until it returns */
  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
    this.#emit(HEADER);
  }

  /** Bytes taken in so far. */
  get inputBytes(): number {
    return this.#inputBytes;
  }

  push(bytes: Uint8Array): void {
    this.#inputBytes += bytes.length;
    for (let offset = 0; offset < bytes.length; ) {
      const piece = bytes.subarray(offset, offset + BLOCK_BYTES - this.#filled);
      this.#block.set(piece, this.#filled);
      this.#filled += piece.length;
      offset += piece.length;
      if (this.#filled === BLOCK_BYTES) this.#flush();
    }
  }

  /** Ends the member. Returns where in the output each block begins. */
  end(): { offsets: number[]; inputBytes: number; outputBytes: number } {
    if (this.#filled > 0) this.#flush();
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#inputBytes % 2 ** 32, 4);
    this.#emit(FINAL_BLOCK);
    this.#emit(trailer);
    return {
      offsets: this.#offsets,
      inputBytes: this.#inputBytes,
      outputBytes: this.#outputBytes,
    };
  }

  #flush(): void {
    const block = this.#block.subarray(0, this.#filled);
    this.#crc = crc32(block, this.#crc);
    this.#offsets.push(this.#outputBytes);
    const deflated = deflateRawSync(block, {
      level: LEVEL,
      finishFlush: constants.Z_FULL_FLUSH,
      chunkSize: OUTPUT_BYTES,
    });
    this.#emit(deflated);
    // Given back at once: the garbage collector lets 64 MB of such memory pile up.
    (deflated.buffer as ArrayBuffer).transfer(0);
    this.#filled = 0;
  }

  #emit(bytes: Buffer): void {
    this.#outputBytes += bytes.length;
    this.#write(bytes);
  }
}
