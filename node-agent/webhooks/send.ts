import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { parseRetryAfter } from '../cloud/retry-after.ts';
import { isPrivate, lookupPublic, PrivateAddress } from './address.ts';
import type { Message } from './message.ts';
import type { Webhook } from './webhook.ts';

/** Why a receiver did not take a message. */
export type Refusal = Readonly<{
  /** A sentence, with nothing of the URL that may be secret. */
  reason: string;
  /**
   * `gone`: it wants no more of them; `message`: it does not take this one; `receiver`: it would take none now.
   */
  concerns: 'gone' | 'message' | 'receiver';
  /** How long it asks to be left alone, in milliseconds; `null` where it asks for nothing. */
  retryAfterMs: number | null;
}>;

/** Statuses that say something of the message alone. */
const OF_THE_MESSAGE: ReadonlySet<number> = new Set([400, 413, 422]);
const GONE = 410;

/**
 * Sends a message, signed as Standard Webhooks say (https://www.standardwebhooks.com, by its own library).
 * A redirect is not followed: it would lead past what was looked at.
 *
 * @param options.answerMs how long the receiver may take to answer, in milliseconds
 * @param options.signal ends it
 * @returns `null` where it was taken
 * @throws what `signal` was ended with
 */
export async function send(
  webhook: Webhook,
  message: Message,
  { now, answerMs, signal }: Readonly<{ now: number; answerMs: number; signal: AbortSignal }>,
): Promise<Refusal | null> {
  const timeout = AbortSignal.timeout(answerMs);
  try {
    // Most processes never send one.
    const { Webhook: Signer } = await import('standardwebhooks');
    const signer = new Signer(webhook.secret);
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'codebegen-storage',
      'webhook-id': message.id,
      'webhook-timestamp': String(Math.floor(now / 1000)),
      'webhook-signature': signer.sign(message.id, new Date(now), message.body),
    };
    const answer = await post(webhook, message.body, headers, AbortSignal.any([signal, timeout]));
    return refusalOf(answer);
  } catch (error) {
    signal.throwIfAborted();
    const reason = timeout.aborted
      ? `no answer within ${answerMs / 1000} s`
      : error instanceof PrivateAddress
        ? error.message
        : `it cannot be reached: ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`;
    return { reason, concerns: 'receiver', retryAfterMs: null };
  }
}

type Answer = Readonly<{ status: number; retryAfter: string | null; date: string | null }>;

function refusalOf({ status, retryAfter, date }: Answer): Refusal | null {
  if (status >= 200 && status < 300) return null;
  if (status === GONE) {
    return { reason: 'it answers 410: it is gone', concerns: 'gone', retryAfterMs: null };
  }
  const isElsewhere = status >= 300 && status < 400;
  return {
    reason: isElsewhere
      ? `it answers ${status}, which leads elsewhere: add the URL that it leads to`
      : `it answers ${status}`,
    concerns: OF_THE_MESSAGE.has(status) ? 'message' : 'receiver',
    retryAfterMs: parseRetryAfter(retryAfter, date),
  };
}

/** One connection each: what is owed goes to a receiver now and then. */
function post(
  { url, allowPrivate }: Webhook,
  body: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const target = new URL(url);
  // Names are looked up as the connection is made; addresses are not looked up.
  if (!allowPrivate && isPrivate(target.hostname)) {
    throw new PrivateAddress(target.hostname, target.hostname);
  }
  const [request, Agent] =
    target.protocol === 'https:'
      ? ([requestHttps, HttpsAgent] as const)
      : ([requestHttp, HttpAgent] as const);
  const lookup = allowPrivate ? {} : { lookup: lookupPublic };
  // An agent of its own: by a proxy names would be looked up there, where nobody looks at what they are.
  const agent = new Agent({ keepAlive: false });
  const length = { 'content-length': Buffer.byteLength(body) };
  const options = { method: 'POST', headers: { ...headers, ...length }, signal, agent, ...lookup };
  const asked = request(target, options, (answer: IncomingMessage) => {
    const { statusCode: status = 0, headers: told } = answer;
    const { 'retry-after': retryAfter = null, date = null } = told;
    resolve({ status, retryAfter, date });
    // What else it says is for nobody.
    answer.on('error', () => {});
    asked.destroy();
  });
  asked.on('error', reject);
  asked.end(body);
  return promise.finally(() => agent.destroy());
}
