import type { Context } from 'hono';
import { PAGE, parseId, parseVersion, StorageError } from '../contract.ts';
import type { RefInput } from '../read/find.ts';

/** The generation that a path names: `/v1/projects/:project/:version…?generation=ID`. */
export function readRef(c: Context): RefInput {
  const generation = c.req.query('generation');
  return {
    projectId: parseId(c.req.param('project'), 'project id'),
    version: parseVersion(c.req.param('version')),
    ...(generation === undefined ? {} : { generationId: parseId(generation, 'generation id') }),
  };
}

/** `?limit` of a list. */
export function readLimit(c: Context): number {
  const limit = c.req.query('limit');
  return limit === undefined ? PAGE.default : readWhole('limit', limit, PAGE.max);
}

/** `?limit&cursor` of a list whose cursor is a number. */
export function readPage(c: Context): { limit: number; cursor?: number } {
  const { cursor } = c.req.query();
  return {
    limit: readLimit(c),
    ...(cursor === undefined
      ? {}
      : { cursor: readWhole('cursor', cursor, Number.MAX_SAFE_INTEGER) }),
  };
}

/** @throws StorageError `invalid_input` that names the field */
export function readWhole(name: string, text: string, max: number): number {
  const value = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= max) return value;
  throw new StorageError(
    'invalid_input',
    `Cannot use the request: ${name}: a whole number from 1 to ${max}`,
  );
}
