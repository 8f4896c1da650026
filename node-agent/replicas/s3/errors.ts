import { CloudError, type Outage } from '../../cloud/outage.ts';
import { parseRetryAfter } from '../../cloud/retry-after.ts';
import { type ErrorCode, StorageError } from '../../contract.ts';
import { Xml } from './xml.ts';

/** An answer that is no success. @property text empty after HEAD */
export type Refusal = Readonly<{ status: number; headers: Headers; text: string }>;

type Meaning = Readonly<{
  code: ErrorCode;
  outage: Outage;
  state: (said: Xml, who: string) => string;
}>;

const meansRefused = (code: ErrorCode, state: Meaning['state']): Meaning => ({
  code,
  outage: 'refused',
  state,
});

const refusesKey = meansRefused(
  'unauthenticated',
  (said) => `refuses the key (${said.text('Code')}). Look at its id and at the file of its secret`,
);
const otherRegion = meansRefused('invalid_input', (said) => {
  const region = said.text('Region') || said.text('Endpoint');
  return `is in another region${region === '' ? '' : `, "${region}"`}: remove it, and add it with that`;
});
const isAway = (state: string): Meaning => ({
  code: 'unavailable',
  outage: 'away',
  state: () => state,
});

/** By the codes of S3: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  InvalidAccessKeyId: refusesKey,
  SignatureDoesNotMatch: refusesKey,
  InvalidToken: refusesKey,
  ExpiredToken: refusesKey,
  AccessDenied: meansRefused(
    'forbidden',
    () => 'does not allow it to this key: it must be able to list, read, write and delete',
  ),
  AllAccessDisabled: meansRefused('forbidden', () => 'does not allow it to this account'),
  AccountProblem: meansRefused('forbidden', () => 'has a problem with this account'),
  RequestTimeTooSkewed: meansRefused(
    'invalid_input',
    () => 'has another time than this host: set the clock of this host (timedatectl)',
  ),
  NoSuchBucket: meansRefused('not_found', () => 'has no such bucket: make it, private'),
  AuthorizationHeaderMalformed: otherRegion,
  PermanentRedirect: otherRegion,
  IllegalLocationConstraintException: otherRegion,
  NoSuchKey: { code: 'not_found', outage: null, state: () => 'has no such object' },
  EntityTooLarge: {
    code: 'too_large',
    outage: null,
    state: () => 'takes no object of this size: raise its limit, or use another',
  },
  XAmzContentSHA256Mismatch: {
    code: 'corrupt',
    outage: null,
    state: () => 'received other bytes than were sent',
  },
  BadDigest: { code: 'corrupt', outage: null, state: () => 'received other bytes than were sent' },
  SlowDown: isAway('asks to be slower'),
  ServiceUnavailable: isAway('is not available'),
  InternalError: isAway('has a fault of its own'),
  RequestTimeout: isAway('waited for bytes that did not arrive'),
};

/**
 * Translates an answer of S3 that is no success, once, where it enters.
 *
 * @param doing completes "Cannot …"
 * @param who answered, as `replica "far"`
 */
export function fromRefusal(
  { status, headers, text }: Refusal,
  doing: string,
  who: string,
): CloudError {
  const said = Xml.parse(text, 'Error');
  const meaning = said === null ? undefined : MEANINGS[said.text('Code')];
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), headers.get('date'));
  const fail = (outage: Outage, code: ErrorCode, state: string) =>
    new CloudError('storage', outage, code, `Cannot ${doing}: ${who} ${state}`, {
      cause: { status, code: said?.text('Code') ?? null },
      ...(retryAfterMs === null ? {} : { retryAfterMs }),
    });
  if (said !== null && meaning !== undefined) {
    return fail(meaning.outage, meaning.code, meaning.state(said, who));
  }
  if (status >= 500 || status === 429 || status === 408) {
    return fail('away', 'unavailable', `answered ${status}`);
  }
  if (said !== null) {
    const state = `answered ${status}, ${JSON.stringify(said.text('Code').slice(0, 100))}`;
    return fail(null, 'invalid_input', state);
  }
  // A gateway that answers for it; or a page.
  return fail('away', 'unavailable', `answered ${status}, in words that are not those of S3`);
}

/** What the network said. */
export function fromNetwork(error: unknown, doing: string, who: string): Error {
  if (error instanceof StorageError) return error;
  // What the disk says has a code of its own and is not the replica's.
  if (typeof (error as NodeJS.ErrnoException).syscall === 'string') return error as Error;
  const state = 'is out of reach';
  return new CloudError('storage', 'away', 'unavailable', `Cannot ${doing}: ${who} ${state}`, {
    cause: error,
  });
}
