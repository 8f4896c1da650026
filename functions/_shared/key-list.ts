import {
  createLocalJWKSet,
  errors,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWSHeaderParameters,
  type JWTVerifyGetKey,
} from 'jose';
import { concatBytes } from './stream.ts';

const TIMEOUT_MS = 5000;
/** How long a list is good for. Longer, where it cannot be had anew. */
const FRESH_MS = 600_000;
/** After a fetch that did not bring the key that it was for: tokens may name any key they like. */
const COOLDOWN_MS = 30_000;
/** Bytes of a list: a project has a handful of keys. */
const MAX_BYTES = 256 * 1024;

type Find = ReturnType<typeof createLocalJWKSet>;

/**
 * The keys that a project signs its users' tokens with, from its own list. A key that is new is found
 * at once; keys that are in no list have it fetched once in half a minute, however many they are.
 */
export class KeyList {
  readonly #url: string;
  #find: Find | null = null;
  #fetchedAt = 0;
  /** Until when unknown keys have nothing fetched, on a clock that nobody sets. */
  #quietUntil = 0;
  /** Why the list could not be had when it was asked for last. */
  #failure: Error | null = null;
  #fetching: Promise<void> | null = null;

  /** @param url of the JSON Web Key Set */
  constructor(url: string) {
    this.#url = url;
  }

  /**
   * The key that a token names.
   *
   * @throws JWKSNoMatchingKey where the project has no such key; another Error where its list is needed
   *   and cannot be had
   */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (performance.now() - this.#fetchedAt < FRESH_MS) {
      const known = await this.#findHere(header, token);
      if (known !== null) return known;
    }
    const isQuiet = performance.now() < this.#quietUntil;
    if (!isQuiet) {
      this.#fetching ??= this.#fetch().finally(() => {
        this.#fetching = null;
      });
      await this.#fetching;
    }
    // Of a list that may be old, as long as there is no other.
    const found = await this.#findHere(header, token);
    if (found !== null) return found;
    if (!isQuiet) this.#quietUntil = performance.now() + COOLDOWN_MS;
    throw this.#failure ?? new errors.JWKSNoMatchingKey();
  };

  async #findHere(header: JWSHeaderParameters, token: FlattenedJWSInput) {
    try {
      return (await this.#find?.(header, token)) ?? null;
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return null;
      throw error;
    }
  }

  /** Does not throw. */
  async #fetch(): Promise<void> {
    try {
      const answer = await fetch(this.#url, {
        headers: { accept: 'application/json' },
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!answer.ok) {
        await answer.body?.cancel();
        throw new Error(`it answers ${answer.status}`);
      }
      this.#find = createLocalJWKSet(JSON.parse(await readText(answer)) as JSONWebKeySet);
      this.#fetchedAt = performance.now();
      this.#failure = null;
    } catch (cause) {
      this.#failure = new Error('the list of keys cannot be had', { cause });
      this.#quietUntil = performance.now() + COOLDOWN_MS;
    }
  }
}

/** @throws Error where it is too long: the rest is not read */
async function readText(answer: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.body ?? []) {
    bytes += piece.length;
    if (bytes > MAX_BYTES) throw new Error(`it is over ${MAX_BYTES} bytes`);
    pieces.push(piece);
  }
  return new TextDecoder().decode(concatBytes(pieces, bytes));
}
