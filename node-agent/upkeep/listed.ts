import type { Catalog } from '../catalog/catalog.ts';
import { isDiskFull } from '../disk/file-errors.ts';
import type { FolderChange } from '../store/project-stamp.ts';
import type { Store } from '../store/store.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog }>;

/**
 * Whether all that lies on disk of a project is in the catalog. It is looked at once for each change of
 * its folders that was not ours: how many versions there are does not matter. One within the same tick
 * of the file system's clock as ours is seen with the next.
 */
export async function isListed({ store, catalog }: Parts, projectId: string): Promise<boolean> {
  const stamp = store.stampOf(projectId);
  if (stamp === null || catalog.projects.listedOf(projectId) === stamp) return true;
  const isKnown = store.listProject(projectId).every(({ ref, movedTo }) => {
    const row = catalog.generations.find(ref.projectId, ref.version);
    // Of what was moved the catalog knows nothing more under its old version.
    return movedTo !== null || row?.generation_id === ref.generationId;
  });
  if (isKnown)
    await keepIfRoom(() => catalog.write(() => catalog.projects.setListed(projectId, stamp)));
  return isKnown;
}

/**
 * Notes a change of ours to a project's folders: where all that lay there before was known, all of it still
 * is. In the transaction that notes what was changed.
 */
export function noteChange(
  { projects }: Catalog,
  projectId: string,
  { before, after }: FolderChange,
): void {
  if (projects.listedOf(projectId) === before) projects.setListed(projectId, after ?? '');
}

/** Without it the folders are looked at once more: what reads does not fail for that. */
async function keepIfRoom(write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}
