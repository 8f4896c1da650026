import * as v from 'valibot';
import { ERROR_CODES, type ErrorCode, StorageError } from '../../contract.ts';
import type { CloudSettings, Timeouts } from '../connection.ts';
import type { Key } from '../key.ts';
import { CloudError, type Outage } from '../outage.ts';
import { parseRetryAfter } from '../retry-after.ts';
import type { OutcomeSchema } from '../rpc.ts';

/** What goes wrong for whoever asks, whatever is asked. */
const OUTAGES: Readonly<Partial<Record<ErrorCode, Outage>>> = {
  unauthenticated: 'refused',
  unavailable: 'away',
  rate_limited: 'away',
  internal: 'away',
};

/** What the function says when it refuses. */
const ProblemSchema = v.object({
  code: v.picklist(Object.keys(ERROR_CODES) as ErrorCode[]),
  detail: v.string(),
});

/** The Edge Function `hosts`, asked with the key of this host. */
export class HostApi {
  readonly #settings: CloudSettings;
  readonly #key: Key;
  readonly #signal: AbortSignal;
  readonly #timeouts: Timeouts;
  readonly #send: typeof fetch;

  /** @param signal ends every request when the agent stops */
  constructor(
    settings: CloudSettings,
    key: Key,
    signal: AbortSignal,
    timeouts: Timeouts,
    send: typeof fetch | null,
  ) {
    this.#settings = settings;
    this.#key = key;
    this.#signal = signal;
    this.#timeouts = timeouts;
    this.#send = send ?? fetch;
  }

  /**
   * Asks one route. A key that is refused is read again from its file, once.
   *
   * @param doing completes "Cannot …"
   * @param signal ends this request
   * @throws StorageError as the function says; `unavailable` for what is not its word
   */
  async ask<T>(
    route: string,
    body: object,
    schema: OutcomeSchema<T>,
    doing: string,
    signal: AbortSignal | null = null,
  ): Promise<T> {
    const text = JSON.stringify(body);
    const answer = await this.#post(route, text, doing, signal);
    const said = answer.status === 401 && (await this.#key.refresh());
    const last = said ? await this.#post(route, text, doing, signal) : answer;
    const json = parse(last.text);
    if (last.status !== 200) throw this.#refusal(last, json, doing);
    const { success, output } = v.safeParse(schema, json);
    if (!success) throw fail('away', 'unavailable', doing, NOT_OURS);
    return output;
  }

  async #post(route: string, body: string, doing: string, given: AbortSignal | null) {
    const timeout = AbortSignal.timeout(this.#timeouts.requestMs);
    const signals = [this.#signal, timeout, ...(given === null ? [] : [given])];
    try {
      const answer = await this.#send(`${this.#settings.url}/functions/v1/hosts${route}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.#key.value}`,
          'content-type': 'application/json',
        },
        body,
        signal: AbortSignal.any(signals),
      });
      const { status, headers } = answer;
      const retryAfterMs = parseRetryAfter(headers.get('retry-after'), headers.get('date'));
      return { status, retryAfterMs, text: await answer.text() };
    } catch (cause) {
      throw fail('away', 'unavailable', doing, 'the function is out of reach', { cause });
    }
  }

  #refusal(
    { status, retryAfterMs }: { status: number; retryAfterMs: number | null },
    json: unknown,
    doing: string,
  ): StorageError {
    const { success, output } = v.safeParse(ProblemSchema, json);
    const wait = retryAfterMs === null ? {} : { retryAfterMs };
    if (success) {
      const { code, detail } = output;
      const cause = new StorageError(code, detail);
      const outage = OUTAGES[code] ?? null;
      const known = code === 'internal' ? 'unavailable' : code;
      return new CloudError('database', outage, known, detail, { cause, ...wait });
    }
    if (status === 402 || status === 540) {
      const state = `refuses for the plan, or the project is paused (${status})`;
      return fail('refused', 'unavailable', doing, `the function ${state}`);
    }
    const state = status === 404 ? 'the function `hosts` is not deployed' : NOT_OURS;
    return fail('away', 'unavailable', doing, `${state} (${status})`, wait);
  }
}

const NOT_OURS = 'something answered in the place of the function';

function fail(
  outage: Outage,
  code: ErrorCode,
  doing: string,
  state: string,
  options: { cause?: unknown; retryAfterMs?: number } = {},
): CloudError {
  return new CloudError('database', outage, code, `Cannot ${doing}: ${state}`, options);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** For what no host may do: the operator does it where the secret key is. */
export function takesSecretKey(doing: string): StorageError {
  const state = 'the key of a host may not. Run it where the secret key is';
  return new CloudError('database', null, 'forbidden', `Cannot ${doing}: ${state}`);
}
