import { notFound, parseId, type Ref, StorageError } from '../contract.ts';
import type { Scan } from '../upkeep/scan.ts';
import { type UndeleteOptions, undelete } from './undelete.ts';

/**
 * Undoes the deletion of every generation of a project that this host or the cloud still keeps. What was purged stays
 * gone, and what is there stays as it is. May be repeated.
 *
 * @param onBack told of each that is back, before the next one
 * @returns how many are back, and of how many nothing is kept where it can be had from
 * @throws StorageError `not_found` where nothing of it ever was, `unavailable`
 */
export async function undeleteProject(
  parts: Parameters<typeof undelete>[0] & Readonly<{ scan: Scan; stopping: AbortSignal }>,
  id: string,
  options: Pick<UndeleteOptions, 'requestId'>,
  onBack: (ref: Ref) => Promise<void>,
): Promise<{ undeleted: number; gone: number }> {
  const projectId = parseId(id, 'project id');
  const { catalog, cloud, scan, stopping } = parts;
  await scan.project(projectId);
  const deleted = new Set(catalog.generations.deletedOf(projectId));
  let isKnown = catalog.generations.highestVersion(projectId) > 0;
  if (cloud !== null) {
    for await (const { version, purge_at } of cloud.listing.generations(projectId)) {
      isKnown = true;
      if (purge_at !== null) deleted.add(version);
    }
  }
  if (!isKnown) throw notFound({ projectId });
  let [back, gone] = [0, 0];
  for (const version of [...deleted].sort((a, b) => a - b)) {
    stopping.throwIfAborted();
    const row = catalog.generations.find(projectId, version);
    try {
      const { ref, undeleted } = await undelete(parts, { projectId, version }, row, options);
      if (!undeleted) continue;
      back++;
      await onBack(ref);
    } catch (error) {
      // It was purged, or the cloud alone has it, which is off.
      if (!(error instanceof StorageError) || error.code !== 'not_found') throw error;
      gone++;
    }
  }
  return { undeleted: back, gone };
}
