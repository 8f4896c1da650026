import type * as v from 'valibot';
import { type UploadTokenSchema, UploadTokensSchema } from '../../contract.ts';
import type { HostApi } from './api.ts';

/** What an archive may be sent with, to its own key alone. */
export type UploadToken = v.InferOutput<typeof UploadTokenSchema>;

/** So many are kept: as many as are under way, and more. */
const MOST = 1000;
/** One that is over so soon is not begun with, in milliseconds. */
const MARGIN_MS = 5 * 60_000;

/** The tokens that came with reservations. They are kept in memory alone: another is to be had at any time. */
export class UploadTokens {
  readonly #api: HostApi;
  readonly #known = new Map<string, { token: UploadToken; until: number }>();

  constructor(api: HostApi) {
    this.#api = api;
  }

  note(token: UploadToken): void {
    // By this host's clock, from when it came: two hours.
    const until = performance.now() + 2 * 3_600_000 - MARGIN_MS;
    this.#known.set(token.object_key, { token, until });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST) break;
      this.#known.delete(oldest);
    }
  }

  /** The one that came with the reservation; `null` where there is none, or it is over soon. */
  find(key: string): UploadToken | null {
    const known = this.#known.get(key);
    return known !== undefined && performance.now() < known.until ? known.token : null;
  }

  /** Asks for another. `null` where nothing is to be sent there: it lies there, or is not this host's any more. */
  async renew(key: string): Promise<UploadToken | null> {
    this.#known.delete(key);
    const doing = `upload "${key}"`;
    const { items } = await this.#api.ask(
      '/uploads',
      { object_keys: [key] },
      UploadTokensSchema,
      doing,
    );
    const [token] = items;
    if (token === undefined) return null;
    this.note(token);
    return token;
  }

  drop(key: string): void {
    this.#known.delete(key);
  }
}
