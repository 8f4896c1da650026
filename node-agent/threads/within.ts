/**
 * What comes in time; `null` where it does not: it goes on then, and what becomes of it is nobody's.
 *
 * @param ms how long it is waited for, in milliseconds
 * @throws what it fails with in time
 */
export async function within<T>(ms: number, coming: Promise<T>): Promise<T | null> {
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(late.resolve, ms, null);
  try {
    return await Promise.race([coming, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
