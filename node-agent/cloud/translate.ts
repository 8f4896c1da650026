import { type ErrorCode, StorageError } from '../contract.ts';
import { NOT_THE_PLATFORM } from './answer.ts';
import { CloudError, type Outage, type Service } from './outage.ts';
import { splitStatus } from './retry-after.ts';

/**
 * What supabase-js says went wrong, in either of its shapes. It hands on what it was answered, so that
 * each of them may be anything: a gateway says numbers where the platform says words.
 */
export type ForeignError = {
  message?: unknown;
  status?: unknown;
  /** The real status, where HTTP says 400, and how long to wait: as {@link splitStatus} reads it. */
  statusCode?: unknown;
  code?: unknown;
};

const CODES: Record<number, ErrorCode> = {
  400: 'invalid_input',
  401: 'unauthenticated',
  402: 'unavailable',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  413: 'too_large',
  415: 'invalid_input',
  422: 'invalid_input',
  429: 'rate_limited',
};

/** Statuses that say: not now. */
const PASSING = new Set([408, 423, 425]);

/** The plan does not allow it, or the project is paused. */
const PLAN = new Set([402, 540]);

/** How PostgreSQL says that it is not the statement's fault: a deadlock, a race, too many at once. */
const PASSING_SQL = new Set(['40001', '40P01', '55P03', '57014', '53300', '57P03']);

/** How Storage refuses a token: in the words of the library that reads it. */
const ABOUT_TOKEN =
  /\bjw[st]\b|\bjwt|signature verification|"exp" claim|invalid (api )?key|invalid (signature|token)/i;

/** How PostgreSQL says that the key's role may not do what we do: it is a key of another role. */
const OTHER_ROLE = '42501';

/** The status that storage means: its errors come as HTTP 400 with the real one in the body. */
export function realStatus(error: unknown): number {
  const { statusCode, status } = (error ?? {}) as ForeignError;
  const real = splitStatus(statusCode).status;
  return Number.isInteger(real) && real >= 100 ? real : Number(status) || 0;
}

/** How long the other side asks to wait, in milliseconds; `null` where it says nothing. */
function retryAfterOf(error: unknown): number | null {
  return splitStatus(((error ?? {}) as ForeignError).statusCode).retryAfterMs;
}

/** What it says in words, and its code. */
function wordsOf(error: unknown): { message: string; code: string } {
  const { message = '', code = '' } = (error ?? {}) as ForeignError;
  const text = typeof message === 'string' ? message : JSON.stringify(message);
  return { message: text ?? '', code: String(code) };
}

/** What an answer that is no success says: storage puts the real status into the body. */
export function fromResponse(status: number, text: string): ForeignError {
  try {
    return { status, ...(JSON.parse(text) as ForeignError) };
  } catch {
    return { status, message: text };
  }
}

/**
 * Translates an error of the platform, once, where it enters.
 *
 * @param doing completes "Cannot …": what could not be done, to what
 * @param who answered: `storage` or `the database`
 */
export function fromPlatform(error: unknown, doing: string, who: string): StorageError {
  if (error instanceof StorageError) return error;
  const status = realStatus(error);
  const { message, code: foreign } = wordsOf(error);
  const fail = (outage: Outage, code: ErrorCode, state: string, retryAfterMs?: number | null) =>
    new CloudError(serviceOf(who), outage, code, `Cannot ${doing}: ${who} ${state}`, {
      cause: error,
      ...(retryAfterMs == null ? {} : { retryAfterMs }),
    });

  if (isRefusal(error)) {
    return fail('refused', 'unauthenticated', `refuses the key (${status}${said(message)})`);
  }
  if (PLAN.has(status)) {
    const state = `refuses for the plan, or the project is paused (${status}${said(message)})`;
    return fail('refused', 'unavailable', state);
  }
  const isPassing =
    status === 0 ||
    status >= 500 ||
    PASSING.has(status) ||
    PASSING_SQL.has(foreign) ||
    foreign === NOT_THE_PLATFORM;
  const code = isPassing ? 'unavailable' : (CODES[status] ?? 'unavailable');
  const isAway = isPassing || code === 'rate_limited' || code === 'unavailable';
  const state =
    foreign === NOT_THE_PLATFORM
      ? message
      : status === 0
        ? 'is out of reach'
        : `answered ${status}`;
  return fail(isAway ? 'away' : null, code, state, isAway ? retryAfterOf(error) : null);
}

/** Whether it is the key that is refused. */
export function isRefusal(error: unknown): boolean {
  const { message, code } = wordsOf(error);
  const status = realStatus(error);
  return status === 401 || (status === 403 && ABOUT_TOKEN.test(message)) || code === OTHER_ROLE;
}

function serviceOf(who: string): Service {
  return who === 'storage' ? 'storage' : 'database';
}

/** What the platform says of its own, for a person: one line of it. */
function said(message: string): string {
  const [line = ''] = message.trim().split('\n');
  return line === '' || line.startsWith('<') ? '' : `: ${line.slice(0, 200)}`;
}

/**
 * Runs what the network or the disk may end, and says which it was.
 *
 * @param doing as for {@link fromPlatform}, of which storage is asked
 */
export async function translated<T>(doing: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    // What the disk says has a code of its own and is not storage's.
    if (typeof (error as NodeJS.ErrnoException).syscall === 'string') throw error;
    throw fromPlatform(error, doing, 'storage');
  }
}

/**
 * Checks that an answer is one of those that the platform gives.
 *
 * @throws StorageError `unavailable`: it is somebody else's, in the platform's place
 */
export function checkAnswer(isKnown: boolean, doing: string, who = 'storage'): void {
  if (isKnown) return;
  const state = "answered in words that are not Supabase's";
  throw new CloudError(serviceOf(who), 'away', 'unavailable', `Cannot ${doing}: ${who} ${state}`);
}
