import { StorageError } from './errors.ts';

/** What a project id and a generation id look like: no dot, no slash, at most 128 characters. */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/;

/** The largest version: what a PostgreSQL `integer` holds. */
export const MAX_VERSION = 2_147_483_647;

/** Tells whether a value may name a project or a generation. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID_PATTERN.test(value);
}

/** Tells whether a value may be the version of a generation. */
export function isVersion(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_VERSION;
}

/**
 * Checks an id that came from outside.
 *
 * @param what names the id in the message: `project id`, `generation id`
 * @throws StorageError `invalid_input`
 */
export function parseId(value: unknown, what: string): string {
  if (isId(value)) return value;
  throw new StorageError(
    'invalid_input',
    `Cannot use ${JSON.stringify(value) ?? 'nothing'} as ${what}: an id has 1 to 128 letters, digits, "_" or "-" and begins with a letter or digit`,
  );
}

/**
 * Checks a version that came from outside, as a number or as decimal digits.
 *
 * @throws StorageError `invalid_input`
 */
export function parseVersion(value: unknown): number {
  const version = typeof value === 'string' && /^[1-9]\d{0,9}$/.test(value) ? Number(value) : value;
  if (isVersion(version)) return version;
  throw new StorageError(
    'invalid_input',
    `Cannot use ${JSON.stringify(value) ?? 'nothing'} as version: a version is a whole number from 1 to ${MAX_VERSION}`,
  );
}

/** A form of an id under which two ids that differ only in case are the same. */
export function foldId(id: string): string {
  return id.toLowerCase();
}
