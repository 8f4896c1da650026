/** In the short form scenarios take one step in ten or more; `CRASH_LONG=1` takes every one. */
export const isLong = process.env.CRASH_LONG === '1';

/**
 * Does the work for each step, two at once: while one process starts, what another left is looked
 * at.
 *
 * @param every how many steps apart in the short form
 */
export async function eachStep(
  count: number,
  every: number,
  work: (step: number) => Promise<void>,
): Promise<void> {
  const stride = isLong ? 1 : every;
  let next = stride;
  const worker = async () => {
    while (next <= count) {
      const step = next;
      next += stride;
      await work(step);
    }
  };
  await Promise.all([worker(), worker()]);
}
