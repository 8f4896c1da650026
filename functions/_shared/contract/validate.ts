import * as v from 'valibot';
import { StorageError } from './errors.ts';

/**
 * Checks what came from outside against a schema.
 *
 * @throws StorageError `invalid_input` that names every field that is wrong
 */
export function validate<T extends v.GenericSchema>(schema: T, value: unknown): v.InferOutput<T> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const problems = result.issues.map(
    (issue) => `${v.getDotPath(issue) ?? 'body'}: ${messageOf(issue)}`,
  );
  throw new StorageError('invalid_input', `Cannot use the request: ${problems.join('; ')}`);
}

/** The library speaks of keys where a field is meant. */
function messageOf({ type, expected, received, message }: v.BaseIssue<unknown>): string {
  if (type !== 'object' && type !== 'strict_object') return message;
  if (expected === 'never') return 'there is no such field';
  return received === 'undefined' ? 'it is missing' : message;
}
