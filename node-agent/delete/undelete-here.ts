import type { Catalog } from '../catalog/catalog.ts';
import { forget, markUndeleted } from '../catalog/deleting.ts';
import type { CloudRow } from '../cloud/outcomes.ts';
import { isInCloud, type Ref } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';

/**
 * Undoes a deletion here that was undone in the cloud: the tombstone goes, then the catalog has what the
 * cloud has, and whoever asks for it gets it from there. What another host is still to send is asked for
 * as if it had never been here. May be repeated.
 *
 * @returns whether there was something to undo
 * @throws StorageError `unavailable`, `disk_full`, `forbidden`
 */
export async function undeleteHere(
  {
    store,
    catalog,
    now,
    onEvent,
  }: Readonly<{
    store: Store;
    catalog: Catalog;
    now: () => number;
    onEvent: Tell;
  }>,
  ref: Ref,
  record: CloudRow,
): Promise<boolean> {
  await store.tombstones.drop(ref, new Date(now()).toISOString());
  return catalog.write(() => {
    if (!isInCloud(record.status)) {
      forget(catalog, ref);
      return true;
    }
    const isUndeleted = markUndeleted(catalog, ref, {
      digest: record.digest,
      sha256: record.sha256,
      bytes: record.archive_bytes,
      key: record.object_key,
    });
    if (isUndeleted) {
      const { digest } = record;
      onEvent({ kind: 'generation.undeleted', ...ref, digest, where: 'cloud' });
    }
    return isUndeleted;
  });
}
