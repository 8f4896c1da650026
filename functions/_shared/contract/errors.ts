/**
 * The one class of error and the one table that says what each code means for
 * HTTP, for a retry and for the exit code of a command.
 */

type Meaning = Readonly<{ status: number; title: string; retryable: boolean; exit: number }>;

/** What each error code means wherever it surfaces. */
export const ERROR_CODES = {
  invalid_input: { status: 400, title: 'Invalid input', retryable: false, exit: 1 },
  unauthenticated: { status: 401, title: 'Not signed in', retryable: false, exit: 6 },
  forbidden: { status: 403, title: 'Forbidden', retryable: false, exit: 6 },
  not_found: { status: 404, title: 'Not found', retryable: false, exit: 4 },
  conflict: { status: 409, title: 'Conflict', retryable: false, exit: 1 },
  too_large: { status: 413, title: 'Too large', retryable: false, exit: 1 },
  corrupt: { status: 422, title: 'Corrupt', retryable: false, exit: 1 },
  rate_limited: { status: 429, title: 'Too many requests', retryable: true, exit: 5 },
  unavailable: { status: 503, title: 'Unavailable', retryable: true, exit: 5 },
  disk_full: { status: 507, title: 'Disk full', retryable: false, exit: 1 },
  read_only: { status: 507, title: 'Read-only', retryable: false, exit: 1 },
  internal: { status: 500, title: 'Internal error', retryable: false, exit: 1 },
} as const satisfies Record<string, Meaning>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** RFC 9457 problem details: the shape of every failure that leaves the system. */
export type Problem = Readonly<{
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  request_id?: string;
  /** Where what was too large to be answered can be had whole. */
  download_url?: string;
}>;

type StorageErrorOptions = {
  cause?: unknown;
  /** @default what the table says for the code */
  retryable?: boolean;
  /** How long the other side asked us to wait, in milliseconds. */
  retryAfterMs?: number;
  /** Where what is too large can be had whole. */
  downloadUrl?: string;
  /** Under which the other side has logged it. */
  requestId?: string;
};

/**
 * What every function of this project throws. `message` is a whole sentence for
 * a person: what could not be done, to what, and the state.
 */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
  readonly downloadUrl: string | null;
  readonly requestId: string | null;

  constructor(code: ErrorCode, message: string, options: StorageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? ERROR_CODES[code].retryable;
    this.retryAfterMs = options.retryAfterMs ?? null;
    this.downloadUrl = options.downloadUrl ?? null;
    this.requestId = options.requestId ?? null;
  }
}

/**
 * Describes any thrown value as problem details. A value that is not a
 * `StorageError` becomes `internal`, and its message, which may hold anything,
 * stays inside.
 */
export function toProblem(error: unknown, requestId?: string): Problem {
  const known =
    error instanceof StorageError
      ? error
      : new StorageError('internal', 'Something went wrong here, the log has the reason');
  const { status, title } = ERROR_CODES[known.code];
  return {
    type: `urn:codebegen-storage:${known.code}`,
    title,
    status,
    detail: known.message,
    code: known.code,
    ...(requestId === undefined ? {} : { request_id: requestId }),
    ...(known.downloadUrl === null ? {} : { download_url: known.downloadUrl }),
  };
}
