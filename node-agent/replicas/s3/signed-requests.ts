import { AwsV4Signer } from 'aws4fetch';
import type { Timeouts } from '../../cloud/connection.ts';
import type { Key } from '../../cloud/key.ts';
import { isOutage } from '../../cloud/outage.ts';
import type { Transfers } from '../../cloud/transfers.ts';
import { StorageError } from '../../contract.ts';
import type { Replica } from '../replica.ts';
import { fromNetwork, fromRefusal } from './errors.ts';

/** What an answer may have beside the bytes of an object: a list of 1 000 long keys is under 1 MB. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** So much is sent in a second at least, else it is tried again: 256 KiB. */
const LEAST_BYTES_A_SECOND = 256 * 1024;

export type S3Connection = Readonly<{
  replica: Extract<Replica, { kind: 's3' }>;
  key: Key;
  /** Ends every request when the agent stops. */
  signal: AbortSignal;
  timeouts: Timeouts;
  transfers: Transfers;
  send: typeof fetch;
}>;

type Asked = Readonly<{
  method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** `null`: the bucket itself. */
  key: string | null;
  query?: Readonly<Record<string, string>>;
  headers?: Readonly<Record<string, string>>;
}>;

/** An answer that was a success. */
export type S3Answer = Readonly<{ status: number; headers: Headers; text: string }>;

/** Requests of the S3 protocol, signed by AWS Signature Version 4. */
export class SignedRequests {
  readonly #connection: S3Connection;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** How it is named in messages. */
  get who(): string {
    return `replica "${this.#connection.replica.name}"`;
  }

  urlOf(key: string | null, query: Readonly<Record<string, string>> = {}): URL {
    const { url, bucket } = this.#connection.replica;
    const full = new URL(`${url}/${bucket}${key === null ? '' : `/${key}`}`);
    for (const [name, value] of Object.entries(query)) full.searchParams.set(name, value);
    return full;
  }

  #signer(asked: Omit<Asked, 'key'> & { url: URL; signQuery?: boolean }): AwsV4Signer {
    const { replica, key } = this.#connection;
    const { method, url, headers = {}, signQuery = false } = asked;
    return new AwsV4Signer({
      ...{ method, url: url.href, headers: { ...headers }, signQuery },
      ...{ accessKeyId: replica.keyId, secretAccessKey: key.value },
      ...{ service: 's3', region: replica.region },
    });
  }

  /**
   * Asks, as we are.
   *
   * @param body a small text
   * @throws CloudError, of what is no success
   */
  ask(asked: Asked, doing: string, body?: string): Promise<S3Answer> {
    return this.#withNewKey(async () => {
      const url = this.urlOf(asked.key, asked.query);
      const { headers } = await this.#signer({ ...asked, url }).sign();
      return this.#settled(await this.#fetch(url, { ...asked, headers, body }, doing), doing);
    });
  }

  /** Asks without a key, as anybody may. Returns the status. */
  async askAsAnybody(key: string | null, query: Readonly<Record<string, string>>, doing: string) {
    const url = this.urlOf(key, query);
    return (
      await this.#fetch(url, { method: 'GET', headers: new Headers(), body: undefined }, doing)
    ).status;
  }

  async #fetch(
    url: URL,
    { method, headers, body }: { method: string; headers: Headers; body: string | undefined },
    doing: string,
  ): Promise<S3Answer> {
    const { send, signal, timeouts } = this.#connection;
    const signals = AbortSignal.any([signal, AbortSignal.timeout(timeouts.requestMs)]);
    try {
      const given = body === undefined ? {} : { body };
      // A redirect leads to where the signature does not hold.
      const init = { method, headers, signal: signals, redirect: 'manual', ...given } as const;
      const response = await send(url.href, init);
      const text = method === 'HEAD' ? '' : await readBounded(response, this.who, doing);
      return { status: response.status, headers: response.headers, text };
    } catch (error) {
      signal.throwIfAborted();
      throw fromNetwork(error, doing, this.who);
    }
  }

  /** Downloads an object into a new file, or nowhere, and hashes on the way. */
  receive(key: string, file: string | null, doing: string): Promise<S3Answer & { sha256: string }> {
    return this.#withNewKey(async () => {
      const { transfers, timeouts } = this.#connection;
      const url = this.urlOf(key);
      const { headers } = await this.#signer({ method: 'GET', url }).sign();
      const { silenceMs } = timeouts;
      const given = { url: url.href, headers: Object.fromEntries(headers), file, silenceMs };
      const answer = await this.#reached(() => transfers.receive(given), doing);
      return { ...this.#settled(withHeaders(answer), doing), sha256: answer.sha256 };
    });
  }

  /**
   * Sends a file, of which storage is told the hash: bytes that changed on the way are refused.
   *
   * @param asked.headers what else is said of it
   */
  sendFile(
    key: string,
    { path, bytes, sha256 }: Readonly<{ path: string; bytes: number; sha256: string }>,
    given: Readonly<Record<string, string>>,
    doing: string,
  ): Promise<S3Answer> {
    return this.#withNewKey(async () => {
      const { transfers, timeouts } = this.#connection;
      const url = this.urlOf(key);
      const asked = { ...given, 'x-amz-content-sha256': sha256 };
      const { headers } = await this.#signer({ method: 'PUT', url, headers: asked }).sign();
      const timeoutMs = timeouts.transferMs + Math.ceil(bytes / LEAST_BYTES_A_SECOND) * 1000;
      const part = { file: path, offset: 0, bytes, timeoutMs };
      const input = { url: url.href, method: 'PUT', headers: Object.fromEntries(headers), ...part };
      return this.#settled(
        withHeaders(await this.#reached(() => transfers.send(input), doing)),
        doing,
      );
    });
  }

  /** A URL that whoever has it may ask by. @param expiresIn seconds */
  async sign(key: string, expiresIn: number, query: Readonly<Record<string, string>>) {
    const url = this.urlOf(key, { ...query, 'X-Amz-Expires': String(expiresIn) });
    return (await this.#signer({ method: 'GET', url, signQuery: true }).sign()).url.href;
  }

  #settled<T extends S3Answer>(answer: T, doing: string): T {
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw fromRefusal(answer, doing, this.who);
  }

  async #reached<T>(run: () => Promise<T>, doing: string): Promise<T> {
    try {
      return await run();
    } catch (error) {
      this.#connection.signal.throwIfAborted();
      throw fromNetwork(error, doing, this.who);
    }
  }

  /** A key that is refused may have been changed in its file. */
  async #withNewKey<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      const isRefused = isOutage(error) && error.outage === 'refused';
      if (!isRefused || !(await this.#connection.key.refresh())) throw error;
      return run();
    }
  }
}

function withHeaders<T extends { headers: Record<string, string> }>(answer: T) {
  return { ...answer, headers: new Headers(answer.headers) };
}

async function readBounded(response: Response, who: string, doing: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.byteLength;
    if (bytes > MAX_ANSWER_BYTES) {
      const state = `answered with more than ${MAX_ANSWER_BYTES} bytes`;
      throw new StorageError('unavailable', `Cannot ${doing}: ${who} ${state}`);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
