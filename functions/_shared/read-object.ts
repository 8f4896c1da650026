import { StorageError } from './contract/errors.ts';
import type { Environment } from './environment.ts';
import { streamOf } from './stream.ts';

/** Where an object lies. */
export type ObjectPlace = Readonly<{ bucket: string; object_key: string }>;

/** Bytes of an object from `begin` to before `end`. */
export type ByteRange = Readonly<{ begin: number; end: number }>;

/**
 * Reads an object, or a range of it, as somebody. The policy on objects is asked.
 *
 * @returns `null` where there is none, or none that the asker may see
 * @throws StorageError `unavailable`, `rate_limited`, `corrupt` for a range past its end
 */
export type ReadObject = (
  place: ObjectPlace,
  options: { range?: ByteRange; signal: AbortSignal },
) => Promise<ReadableStream<Uint8Array> | null>;

/** For the head of an answer, and for all of it: the platform ends a request after 150 s. */
const HEAD_TIMEOUT_MS = 10_000;
const BODY_TIMEOUT_MS = 140_000;

/**
 * Makes the reading of objects. supabase-js has no ranges.
 *
 * @param apikey the publishable key for a user, the secret one for the service role
 * @param bearer the user's token, or the secret key again
 */
export function createReadObject(
  environment: Environment,
  apikey: string,
  bearer: string,
): ReadObject {
  return async ({ bucket, object_key }, { range, signal }) => {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), HEAD_TIMEOUT_MS);
    const headers = new Headers({ apikey, authorization: `Bearer ${bearer}` });
    if (range !== undefined) headers.set('range', `bytes=${range.begin}-${range.end - 1}`);
    const url = `${environment.supabaseUrl}/storage/v1/object/authenticated/${bucket}/${object_key}`;
    const answer = await fetch(url, {
      headers,
      signal: AbortSignal.any([signal, late.signal, AbortSignal.timeout(BODY_TIMEOUT_MS)]),
    })
      .catch((cause: unknown) => {
        throw away('is out of reach', cause);
      })
      .finally(() => clearTimeout(timer));
    if (answer.status === (range === undefined ? 200 : 206) && answer.body !== null) {
      return streamOf(translated(answer.body));
    }
    if (answer.ok) {
      // All of the object where a part was asked for: it may be large.
      await answer.body?.cancel();
      throw away(`answered ${answer.status}`, null);
    }
    const problem = await answer.json().catch(() => null);
    // Storage answers 400 and says in the body what it means.
    const status = Number(problem?.statusCode ?? answer.status);
    if (status === 404) return null;
    if (status === 416) {
      const message = 'Cannot read the archive: it is shorter than it was';
      throw new StorageError('corrupt', message, { cause: problem });
    }
    throw away(`answered ${answer.status}`, problem, status === 429);
  };
}

async function* translated(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw away('broke off', cause);
  }
}

function away(state: string, cause: unknown, isLimited = false): StorageError {
  const code = isLimited ? 'rate_limited' : 'unavailable';
  return new StorageError(code, `Cannot read the archive: storage ${state}`, { cause });
}
