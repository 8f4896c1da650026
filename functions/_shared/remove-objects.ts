import type { SupabaseClient } from '@supabase/supabase-js';
import { StorageError } from './contract/errors.ts';
import { callDatabase } from './database.ts';
import type { ObjectPlace } from './read-object.ts';

/** Objects that one call of Storage removes at most. */
export const REMOVE_AT_ONCE = 1000;

/**
 * Removes the archives of deleted generations from the bucket, and notes that they are gone. What
 * is not there any more counts as removed.
 *
 * @param service a client of the service role: no user may remove objects
 * @param objects {@link REMOVE_AT_ONCE} at most
 * @param doing completes "Cannot …" in the message
 * @throws StorageError `unavailable`: a repeat goes on
 */
export async function removeObjects(
  service: SupabaseClient,
  objects: readonly ObjectPlace[],
  doing: string,
): Promise<void> {
  for (const bucket of new Set(objects.map((object) => object.bucket))) {
    const some = objects.filter((object) => object.bucket === bucket);
    const { error } = await service.storage
      .from(bucket)
      .remove(some.map((object) => object.object_key));
    if (error !== null) {
      throw new StorageError(
        'unavailable',
        `Cannot ${doing} whole: it is gone for everybody, its archive not yet removed, try again`,
        { cause: error },
      );
    }
    await callDatabase(service, 'storage_record_removals', { p_objects: some }, doing);
  }
}
