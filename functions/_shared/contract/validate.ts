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
    (issue) => `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`,
  );
  throw new StorageError('invalid_input', `Cannot use the request: ${problems.join('; ')}`);
}
