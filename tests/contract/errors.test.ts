import { expect, test } from 'vitest';
import { ERROR_CODES, StorageError, toProblem } from '../../functions/_shared/contract/errors.ts';

test('codes have the HTTP status and the exit code that callers rely on', () => {
  const table = Object.entries(ERROR_CODES).map(([code, { status, exit, retryable }]) => [
    code,
    status,
    exit,
    retryable,
  ]);
  expect(table).toEqual([
    ['invalid_input', 400, 1, false],
    ['unauthenticated', 401, 6, false],
    ['forbidden', 403, 6, false],
    ['not_found', 404, 4, false],
    ['conflict', 409, 1, false],
    ['too_large', 413, 1, false],
    ['corrupt', 422, 1, false],
    ['rate_limited', 429, 5, true],
    ['unavailable', 503, 5, true],
    ['disk_full', 507, 1, false],
    ['read_only', 507, 1, false],
    ['internal', 500, 1, false],
  ]);
});

test('a problem tells what a StorageError says', () => {
  const problem = toProblem(new StorageError('not_found', 'Cannot find "p v1"'), 'r-1');
  expect(problem).toEqual({
    type: 'urn:codebegen-storage:not_found',
    title: 'Not found',
    status: 404,
    detail: 'Cannot find "p v1"',
    code: 'not_found',
    request_id: 'r-1',
  });
});

test('a problem tells nothing of any other error', () => {
  const problem = toProblem(new Error('password=hunter2'));
  expect(problem.code).toBe('internal');
  expect(JSON.stringify(problem)).not.toContain('hunter2');
});
