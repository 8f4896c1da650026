/**
 * Tries all cases of a test at once: for those that wait more than they work. What fails is named after
 * its case.
 */
export async function atOnce<T>(
  cases: readonly T[],
  nameOf: (one: T) => string,
  work: (one: T) => Promise<void>,
): Promise<void> {
  await Promise.all(
    cases.map((one) =>
      work(one).catch((error: Error) => {
        error.message = `${nameOf(one)}: ${error.message}`;
        throw error;
      }),
    ),
  );
}
