/**
 * How the Storage server says no: HTTP 400 with the real status as a string in the body
 * (416 and unknown routes excepted). Clients read `statusCode`, `error` and `code`.
 */
export class StorageProblem extends Error {
  readonly httpStatus: number;
  readonly statusCode: string;
  readonly error: string;
  readonly code: string;

  /** @param httpStatus what is said beside the body; 400 but for a few */
  constructor(
    statusCode: number,
    error: string,
    message: string,
    code: string,
    httpStatus = statusCode === 416 || statusCode === 500 ? statusCode : 400,
  ) {
    super(message);
    this.httpStatus = httpStatus;
    this.statusCode = String(statusCode);
    this.error = error;
    this.code = code;
  }

  toResponse(): Response {
    const body = JSON.stringify({
      statusCode: this.statusCode,
      error: this.error,
      message: this.message,
      code: this.code,
    });
    return new Response(body, {
      status: this.httpStatus,
      headers: {
        'content-type': 'application/json; charset=utf-8',
        // Said to HEAD too, which gets no body to count.
        'content-length': String(Buffer.byteLength(body)),
      },
    });
  }
}

export const problems = {
  noSuchBucket: () =>
    new StorageProblem(404, 'Bucket not found', 'Bucket not found', 'NoSuchBucket'),
  noSuchKey: () => new StorageProblem(404, 'not_found', 'Object not found', 'NoSuchKey'),
  duplicate: (code: 'KeyAlreadyExists' | 'BucketAlreadyExists') =>
    new StorageProblem(409, 'Duplicate', 'The resource already exists', code),
  accessDenied: (message = 'new row violates row-level security policy') =>
    new StorageProblem(403, 'Unauthorized', message, 'AccessDenied'),
  /** Of a route that only a role of the server's own may use: said before anything is looked at. */
  invalidRole: () =>
    new StorageProblem(403, 'Unauthorized', 'Access denied: Invalid role', 'AccessDenied', 403),
  invalidRequest: (message: string) => new StorageProblem(400, 'Error', message, 'InvalidRequest'),
  /** What the server's framework refuses before a route is asked. */
  unreadable: (status: number, message: string) =>
    new StorageProblem(status, 'FastifyError', message, 'InvalidRequest', status),
  noSuchRoute: (method: string, path: string) =>
    new StorageProblem(
      404,
      'Not Found',
      `Route ${method}:${path} not found`,
      'InvalidRequest',
      404,
    ),
  invalidBucketName: () =>
    new StorageProblem(400, 'Invalid Input', 'Bucket name invalid', 'InvalidBucketName'),
  invalidUploadId: () =>
    new StorageProblem(400, 'InvalidUploadId', 'Invalid upload id', 'InvalidUploadId'),
  database: (code: string) =>
    new StorageProblem(500, 'DatabaseError', `database error, code: ${code}`, 'DatabaseError'),
  internal: () => new StorageProblem(500, 'Internal', 'Internal Server Error', 'InternalError'),
  invalidKey: (key: string) =>
    new StorageProblem(400, 'InvalidKey', `Invalid key: ${key}`, 'InvalidKey'),
  invalidJwt: (message: string) => new StorageProblem(400, 'InvalidJWT', message, 'InvalidJWT'),
  invalidSignature: (message = 'Invalid signature') =>
    new StorageProblem(400, 'InvalidSignature', message, 'InvalidSignature'),
  invalidParameter: (what: string) =>
    new StorageProblem(400, 'InvalidParameter', `Invalid Parameter ${what}`, 'InvalidParameter'),
  tooLarge: () =>
    new StorageProblem(
      413,
      'Payload too large',
      'The object exceeded the maximum allowed size',
      'EntityTooLarge',
    ),
  invalidType: (type: string) =>
    new StorageProblem(
      415,
      'invalid_mime_type',
      `mime type ${type} is not supported`,
      'InvalidMimeType',
    ),
  invalidRange: () =>
    new StorageProblem(416, 'invalid_range', 'invalid range provided', 'InvalidRange'),
  notEmpty: () =>
    new StorageProblem(
      409,
      'ResourceNotEmpty',
      'The bucket you tried to delete is not empty',
      'ResourceNotEmpty',
    ),
};

/** Translates what PostgreSQL refuses into what the server answers. */
export function fromDatabase(
  error: unknown,
  duplicate: 'KeyAlreadyExists' | 'BucketAlreadyExists',
): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === '42501') return problems.accessDenied();
  if (code === '23505') return problems.duplicate(duplicate);
  if (code === '23503') return problems.noSuchBucket();
  return error;
}
