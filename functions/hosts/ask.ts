import { StorageError } from '../_shared/contract/errors.ts';
import { callDatabase } from '../_shared/database.ts';
import type { HostVariables } from './context.ts';

type Asking = Readonly<{ var: Pick<HostVariables, 'service' | 'keySha256'> }>;

/**
 * Calls the SQL function that does what a host asks for, and checks whether it may.
 *
 * @param doing completes "Cannot …"
 * @throws StorageError `unauthenticated`, `forbidden`; what {@link callDatabase} throws
 */
export async function ask<T>(
  c: Asking,
  name: string,
  args: Record<string, unknown>,
  doing: string,
): Promise<T> {
  const { service, keySha256 } = c.var;
  try {
    return await callDatabase<T>(service, name, { p_sha256: keySha256, ...args }, doing);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const { code } = (error.cause ?? {}) as { code?: string };
    if (code === 'PT401') {
      const state = "the key is nobody's, has ended, or was revoked";
      throw new StorageError('unauthenticated', `Cannot ${doing}: ${state}`, { cause: error });
    }
    if (code === 'PT403') {
      const state = 'the key has no right to. The operator gives it with: hosts add --delete own';
      throw new StorageError('forbidden', `Cannot ${doing}: ${state}`, { cause: error });
    }
    throw error;
  }
}
