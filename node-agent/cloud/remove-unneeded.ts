import type { Cloud } from './cloud.ts';
import type { UnneededObject } from './outcomes.ts';

/** Removes what the database says that nothing needs, and says so there. */
export async function removeUnneeded(
  { objects, records }: Pick<Cloud, 'objects' | 'records'>,
  unneeded: readonly UnneededObject[],
): Promise<void> {
  if (unneeded.length === 0) return;
  await objects.remove(unneeded.map(({ bucket, object_key: key }) => ({ bucket, key })));
  await records.recordRemovals(unneeded);
}
