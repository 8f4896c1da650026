import type { Limits } from '../contract.ts';
import { fromOutcome, type Outcome } from '../threads/outcome.ts';
import { makeThreads } from '../threads/pool.ts';
import { type ParsedSave, parseSaveBody } from './json-input.ts';

/** Bytes of JSON that are parsed in a millisecond or two. */
const SMALL_BODY = 256 * 1024;

/** Reads saves that came as JSON: large ones in threads. */
export class JsonParser {
  readonly #limits: Limits;
  readonly #pool = makeThreads('json-worker', import.meta.url, { maxThreads: 2 });

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** @throws StorageError `invalid_input`, `too_large` */
  async parse(body: Uint8Array<SharedArrayBuffer>): Promise<ParsedSave> {
    const limits = this.#limits;
    // The way to a thread and back takes longer.
    if (body.length <= SMALL_BODY) return parseSaveBody(body, limits);
    return fromOutcome(
      (await this.#pool.run({ body, limits }, { name: 'parse' })) as Outcome<ParsedSave>,
    );
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}
