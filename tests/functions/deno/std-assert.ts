/**
 * Stands in for `jsr:@std/assert` where jsr is out of reach: the functions that the Deno tests use,
 * with its signatures.
 */
type ErrorClass<E extends Error> = abstract new (...args: never[]) => E;

export class AssertionError extends Error {
  override name = 'AssertionError';
}

export function assert(value: unknown, message = ''): asserts value {
  if (!value) throw new AssertionError(message);
}

export function assertEquals<T>(actual: T, expected: T, message = ''): void {
  assert(
    isEqual(actual, expected),
    message || `${Deno.inspect(actual)} is not ${Deno.inspect(expected)}`,
  );
}

export function assertMatch(actual: string, expected: RegExp, message = ''): void {
  assert(expected.test(actual), message || `${expected} does not match "${actual}"`);
}

/** Resolves with the error, which must be of the class and have the words in its message. */
export async function assertRejects<E extends Error = Error>(
  run: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  words = '',
): Promise<E> {
  let thrown: unknown;
  try {
    await run();
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof (errorClass ?? Error), `Expected ${errorClass?.name ?? 'an error'}`);
  const { message } = thrown as E;
  assert(message.includes(words), `Expected "${words}" in "${message}"`);
  return thrown as E;
}

/** Of plain objects, arrays, bytes and what is not made of others. */
function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(
      (key) => Object.hasOwn(b, key) && isEqual(a[key as keyof typeof a], b[key as keyof typeof b]),
    )
  );
}
