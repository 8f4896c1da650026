import { notOfThisList } from './rows.ts';

/** A time as PostgreSQL prints it in JSON. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d:\d\d$/;

/** Where a list by time goes on. It keeps the microseconds that an item has lost. */
export function makeTimeCursor(at: string, id: string): string {
  return btoa(`${at} ${id}`).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** @throws StorageError `invalid_input` for one that no page gave */
export function parseTimeCursor(
  cursor: string,
  isId: (id: string) => boolean,
): { at: string; id: string } {
  try {
    const text = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'));
    const [at = '', id = ''] = text.split(' ');
    if (isId(id) && TIME.test(at)) return { at, id };
  } catch {
    // Not base64: the same answer as for any other cursor that is none of ours.
  }
  throw notOfThisList();
}
