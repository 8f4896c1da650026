/**
 * A gzip of one member whose deflate blocks stand alone: each holds as many bytes of the
 * input and ends with a full flush, so that `inflate(block + 03 00)` reads it without the rest.
 * Format: RFC 1952 (gzip), RFC 1951 (deflate); the trick is that of dictzip and pigz -i.
 */
import { constants, crc32, createDeflateRaw, type DeflateRaw, deflateRawSync } from 'node:zlib';

/**
 * Bytes in one block of so much input. More of them make the archive smaller; fewer have one file
 * read with less beside it, and a small archive deflated on more than one core.
 */
export function blockBytesOf(inputBytes: number): number {
  return inputBytes > 2 * 1024 * 1024 ? 256 * 1024 : 128 * 1024;
}

/** The same in whichever thread a block is deflated: so are its bytes. */
const OPTIONS = {
  /** 9 costs 2 to 5 times as much for about one percent. */
  level: 6,
  /** Small blocks of Huffman codes suit small files: up to 0.8 % less than with the default of 8. */
  memLevel: 7,
} as const;
/** Beside a block that does not get smaller: it comes in one piece, never a part of a shared buffer. */
export const MARGIN_BYTES = 16 * 1024;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
/** Where the first block begins. */
export const HEADER_BYTES = HEADER.length;
/** An empty block that is marked as the last one. */
export const FINAL_BLOCK = Buffer.from([3, 0]);
/** What comes after the last block: that, the checksum, and the length. */
export const TRAILER_BYTES = FINAL_BLOCK.length + 8;

/**
 * How many blocks may be deflated at once in libuv's threads; 0: one after another in this thread.
 * Asked anew for each block. The bytes are the same.
 */
export type Lanes = () => number;

/** Twice as many as libuv has threads: none of them is to wait while this one reads files. */
export const MAX_LANES = 8;

/** Deflates one block after another, in a thread of libuv's. */
class Lane {
  readonly block: Buffer;
  #deflate: DeflateRaw | null = null;
  #output: Buffer[] = [];
  #outputMemory: ArrayBuffer | null = null;

  constructor(blockBytes: number) {
    this.block = Buffer.allocUnsafe(blockBytes);
  }

  /** @param bytes how much of the block is filled */
  run(bytes: number): Promise<void> {
    // Not before: what is one block is deflated without.
    this.#deflate ??= this.#open();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#deflate.write(this.block.subarray(0, bytes), (error) =>
      error ? reject(error) : resolve(),
    );
    return promise;
  }

  #open(): DeflateRaw {
    // The flush also makes it forget what came before, as if it were begun anew.
    const deflate = createDeflateRaw({
      ...OPTIONS,
      chunkSize: this.block.length + MARGIN_BYTES,
      flush: constants.Z_FULL_FLUSH,
    });
    deflate.on('data', (piece: Buffer) => this.#output.push(piece));
    // Told to whoever waits for the run.
    deflate.on('error', () => {});
    return deflate;
  }

  /** Hands out what the last run gave. */
  take(emit: (bytes: Buffer) => void): void {
    for (const piece of this.#output) {
      emit(piece);
      const memory = piece.buffer as ArrayBuffer;
      if (memory === this.#outputMemory) continue;
      // Given back at once: the garbage collector lets 64 MB of such memory pile up.
      this.#outputMemory?.transfer(0);
      this.#outputMemory = memory;
    }
    this.#output = [];
  }

  close(): void {
    this.#deflate?.destroy();
  }
}

export class BlockGzip {
  readonly blockBytes: number;
  readonly #write: (bytes: Buffer) => void;
  readonly #lanes: Lanes;
  readonly #made: Lane[] = [];
  readonly #idle: Lane[] = [];
  /** Those that work, in the order of the input. */
  readonly #working: { lane: Lane; done: Promise<void> }[] = [];
  #lane: Lane;
  #filled = 0;
  #crc = 0;
  #inputBytes = 0;
  #outputBytes = 0;
  readonly #offsets: number[] = [];

  /**
   * @param blockBytes of input in each block
   * @param write takes the output piece by piece; each is good until it returns
   */
  constructor(blockBytes: number, write: (bytes: Buffer) => void, lanes: Lanes) {
    this.blockBytes = blockBytes;
    this.#write = write;
    this.#lanes = lanes;
    this.#lane = this.#addLane();
    this.#emit(HEADER);
  }

  /** Bytes taken in so far. */
  get inputBytes(): number {
    return this.#inputBytes;
  }

  /**
   * Takes bytes in; they are not looked at after this returns.
   *
   * @returns what is to be waited for before the next; `null` where there is room at once
   */
  push(bytes: Uint8Array): Promise<void> | null {
    if (this.#filled + bytes.length >= this.blockBytes) return this.#pushMuch(bytes);
    this.#inputBytes += bytes.length;
    this.#lane.block.set(bytes, this.#filled);
    this.#filled += bytes.length;
    return null;
  }

  async #pushMuch(bytes: Uint8Array): Promise<void> {
    this.#inputBytes += bytes.length;
    for (let offset = 0; offset < bytes.length; ) {
      const piece = bytes.subarray(offset, offset + this.blockBytes - this.#filled);
      this.#lane.block.set(piece, this.#filled);
      this.#filled += piece.length;
      offset += piece.length;
      if (this.#filled === this.blockBytes) await this.#nextBlock();
    }
  }

  /** Ends the member. Returns where in the output each block begins. */
  async end(): Promise<{ offsets: number[]; inputBytes: number; outputBytes: number }> {
    const last = this.#deflateHere();
    while (this.#working.length > 0) await this.#finishOldest();
    if (last !== null) this.#emitBlock(last);
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

  /** Gives the memory back, also where it did not come to an end. */
  close(): void {
    for (const lane of this.#made) lane.close();
  }

  async #nextBlock(): Promise<void> {
    const lanes = this.#lanes();
    while (this.#working.length > 0 && this.#working.length >= lanes) {
      this.#idle.push(await this.#finishOldest());
    }
    if (lanes === 0) {
      this.#emitBlock(this.#deflateHere()!);
      this.#filled = 0;
      return;
    }
    this.#countIn();
    const lane = this.#lane;
    const done = lane.run(this.#filled);
    // Also where nobody comes to wait for it, because a file could not be read.
    done.catch(() => {});
    this.#working.push({ lane, done });
    this.#filled = 0;
    this.#lane = this.#idle.pop() ?? this.#addLane();
  }

  /** Also the last block, while the others are deflated elsewhere: mostly it is the only one. */
  #deflateHere(): Buffer | null {
    if (this.#filled === 0) return null;
    this.#countIn();
    const block = this.#lane.block.subarray(0, this.#filled);
    return deflateRawSync(block, {
      ...OPTIONS,
      chunkSize: this.blockBytes + MARGIN_BYTES,
      finishFlush: constants.Z_FULL_FLUSH,
    });
  }

  #countIn(): void {
    this.#crc = crc32(this.#lane.block.subarray(0, this.#filled), this.#crc);
  }

  #addLane(): Lane {
    const lane = new Lane(this.blockBytes);
    this.#made.push(lane);
    return lane;
  }

  /** @returns the lane that is free then */
  async #finishOldest(): Promise<Lane> {
    const { lane, done } = this.#working.shift()!;
    await done;
    this.#offsets.push(this.#outputBytes);
    lane.take((bytes) => this.#emit(bytes));
    return lane;
  }

  #emitBlock(block: Buffer): void {
    this.#offsets.push(this.#outputBytes);
    this.#emit(block);
    // Given back at once, as those of a lane.
    (block.buffer as ArrayBuffer).transfer(0);
  }

  #emit(bytes: Buffer): void {
    this.#outputBytes += bytes.length;
    this.#write(bytes);
  }
}
