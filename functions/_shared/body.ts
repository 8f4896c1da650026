import type { HonoRequest } from 'hono';
import { StorageError } from './contract/errors.ts';

/**
 * Reads the JSON body of a request. One that is left out is an empty object: fields have defaults.
 *
 * @throws StorageError `invalid_input`, `too_large`
 */
export async function readBody(request: HonoRequest): Promise<unknown> {
  const text = await request.text();
  if (text === '') return {};
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new StorageError('invalid_input', 'Cannot use the request: body: not JSON', { cause });
  }
}
