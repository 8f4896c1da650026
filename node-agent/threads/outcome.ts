import { type ErrorCode, StorageError } from '../contract.ts';

/** An outcome that crosses threads: an Error would lose its code. */
export type Outcome<T> =
  | { value: T }
  | { failure: { code: ErrorCode; message: string; cause: unknown } };

/** @param translate makes a StorageError of what is known of other errors; the rest is thrown */
export async function toOutcome<T>(
  work: () => T | Promise<T>,
  translate: (error: unknown) => unknown = (error) => error,
): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    const known = translate(error);
    if (!(known instanceof StorageError)) throw error;
    return { failure: { code: known.code, message: known.message, cause: known.cause } };
  }
}

/** @throws StorageError as the work did */
export function fromOutcome<T>(outcome: Outcome<T>): T {
  if ('value' in outcome) return outcome.value;
  const { code, message, cause } = outcome.failure;
  throw new StorageError(code, message, { cause });
}
