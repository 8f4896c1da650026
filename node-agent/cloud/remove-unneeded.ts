import type { Cloud } from './cloud.ts';
import type { UnneededObject } from './outcomes.ts';

/** Removes what the database says that nothing needs, and says so there. Returns how many bytes that freed. */
export async function removeUnneeded(
  { objects, retention }: Pick<Cloud, 'objects' | 'retention'>,
  unneeded: readonly UnneededObject[],
): Promise<number> {
  if (unneeded.length === 0) return 0;
  await objects.remove(unneeded.map(({ bucket, object_key: key }) => ({ bucket, key })));
  return retention.recordRemovals(unneeded);
}
