import { type ArchiveName, entryNameOf } from '../contract.ts';
import { tarEnd, tarHeader, tarPadding } from './tar.ts';

/** What is gathered before it is handed on. */
const BUFFER_BYTES = 256 * 1024;

/** Takes bytes that go to a place of the tar. They are its own until it returns. */
export type WriteAt = (bytes: Uint8Array, position: number) => void;

type OpenFile = {
  name: ArchiveName;
  expected: Readonly<{ size: number; mode: number }>;
  headerAt: number;
  header: Buffer;
  size: number;
};

/**
 * Makes one tar of files whose sizes may not be known before they end: what is expected is written before
 * the bytes of a file, and put right after them where it was another.
 */
export class TarEncoder {
  readonly #write: WriteAt;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  /** Where in the tar the buffer begins. */
  #start: number;
  #filled = 0;
  #file: OpenFile | null = null;

  /** @param end where in the tar it goes on, after what somebody else wrote */
  constructor(write: WriteAt, end = 0) {
    this.#write = write;
    this.#start = end;
  }

  /** Begins a file. One at a time. */
  begin(name: ArchiveName, expected: Readonly<{ size: number; mode: number }>): void {
    const header = headerOf(name, expected);
    const headerAt = this.#start + this.#filled;
    this.#push(header);
    this.#file = { name, expected, headerAt, header, size: 0 };
  }

  /** Takes the next bytes of the file. */
  write(bytes: Uint8Array): void {
    const file = this.#file!;
    file.size += bytes.length;
    this.#push(bytes);
  }

  /** Ends the file. @param mode permission bits */
  end(mode: number): void {
    const { name, expected, headerAt, header: written, size } = this.#file!;
    this.#file = null;
    this.#push(tarPadding(size));
    if (size === expected.size && mode === expected.mode) return;
    const header = headerOf(name, { size, mode });
    // As long as that which is there: nothing in it is as long as the size is large.
    if (header.length !== written.length) throw new Error(`The header of "${name.path}" grew`);
    this.#patch(header, headerAt);
  }

  /** Ends the tar. Returns how many bytes it has. */
  finish(): number {
    this.#push(tarEnd());
    this.#flush();
    this.close();
    return this.#start;
  }

  /** Gives the memory back, also where it did not come to an end. */
  close(): void {
    // At once: the garbage collector lets 64 MB of such memory pile up.
    if (this.#buffer.buffer.byteLength > 0) (this.#buffer.buffer as ArrayBuffer).transfer(0);
  }

  #push(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length; ) {
      const piece = bytes.subarray(offset, offset + BUFFER_BYTES - this.#filled);
      this.#buffer.set(piece, this.#filled);
      this.#filled += piece.length;
      offset += piece.length;
      if (this.#filled === BUFFER_BYTES) this.#flush();
    }
  }

  /** Puts bytes in the place of others, some of which may have been handed on. */
  #patch(bytes: Uint8Array, position: number): void {
    const gone = Math.min(bytes.length, Math.max(0, this.#start - position));
    if (gone > 0) this.#write(bytes.subarray(0, gone), position);
    if (gone < bytes.length) this.#buffer.set(bytes.subarray(gone), position + gone - this.#start);
  }

  #flush(): void {
    if (this.#filled === 0) return;
    this.#write(this.#buffer.subarray(0, this.#filled), this.#start);
    this.#start += this.#filled;
    this.#filled = 0;
  }
}

function headerOf(name: ArchiveName, { size, mode }: { size: number; mode: number }): Buffer {
  return tarHeader({ path: entryNameOf(name), size, mode });
}
