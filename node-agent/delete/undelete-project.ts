import { notFound, parseId, type Ref, StorageError } from '../contract.ts';
import type { Scan } from '../upkeep/scan.ts';
import { type UndeleteOptions, undelete } from './undelete.ts';

/**
 * Undoes the deletion of every generation of a project that this host or the cloud still keeps. What was purged stays
 * gone, and what is there stays as it is. May be repeated.
 *
 * @returns those that are back
 * @throws StorageError `not_found` where nothing of it ever was, `unavailable`
 */
export async function undeleteProject(
  parts: Parameters<typeof undelete>[0] & Readonly<{ scan: Scan }>,
  id: string,
  options: Pick<UndeleteOptions, 'requestId'>,
): Promise<Ref[]> {
  const projectId = parseId(id, 'project id');
  const { catalog, cloud, scan } = parts;
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
  const back: Ref[] = [];
  for (const version of [...deleted].sort((a, b) => a - b)) {
    const row = catalog.generations.find(projectId, version);
    try {
      const { ref, undeleted } = await undelete(parts, { projectId, version }, row, options);
      if (undeleted) back.push(ref);
    } catch (error) {
      // It was purged: nothing of it is left to bring back.
      if (!(error instanceof StorageError) || error.code !== 'not_found') throw error;
    }
  }
  return back;
}
