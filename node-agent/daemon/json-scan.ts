import { StorageError } from '../contract.ts';

/** How much structure a JSON text may have. */
export type JsonLimits = Readonly<{
  /** Members and elements in all. */
  values: number;
  /** Objects and arrays inside each other. */
  depth: number;
}>;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;

/**
 * Counts what a JSON text holds while it arrives: to parse it costs memory by what is in it, not by its
 * bytes. That it is JSON is not looked at.
 */
export class JsonScan {
  readonly #limits: JsonLimits;
  #inString = false;
  #escaped = false;
  #values = 0;
  #depth = 0;

  constructor(limits: JsonLimits) {
    this.#limits = limits;
  }

  /** @throws StorageError `too_large` */
  push(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === COMMA) this.#count(1, 0);
      // The first element of each has no comma before it.
      else if (byte === 0x7b || byte === 0x5b) this.#count(1, 1);
      else if (byte === 0x7d || byte === 0x5d) this.#depth--;
    }
  }

  #count(values: number, depth: number): void {
    this.#values += values;
    this.#depth += depth;
    const { values: most, depth: deepest } = this.#limits;
    if (this.#values <= most && this.#depth <= deepest) return;
    throw new StorageError(
      'too_large',
      `Cannot read the request: over ${most} values, or ${deepest} of them inside each other; send a form or a tar`,
    );
  }
}
