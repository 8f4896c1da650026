import { refOf } from '../catalog/generation-row.ts';
import { MAX_VERSION, parseId, StorageError } from '../contract.ts';
import type { Scan } from '../upkeep/scan.ts';
import { deleteGeneration } from './delete.ts';

/** Generations that are listed at once. */
const PAGE = 100;

/**
 * Deletes every generation of a project that this host knows of, as {@link deleteGeneration} does. May be
 * repeated. What is saved to it meanwhile stays; so does what another host saved.
 *
 * @returns how many there were to delete
 * @throws StorageError `not_found` where nothing of it ever was here, `unavailable` once it is to stop: a repeat goes on
 */
export async function deleteProject(
  parts: Parameters<typeof deleteGeneration>[0] & Readonly<{ scan: Scan; stopping: AbortSignal }>,
  id: string,
  requestId: string | null,
): Promise<{ projectId: string; deleted: number }> {
  const projectId = parseId(id, 'project id');
  const { catalog, scan, stopping } = parts;
  await scan.project(projectId);
  if (catalog.generations.highestVersion(projectId) === 0) {
    throw new StorageError(
      'not_found',
      `Cannot find project "${projectId}": nothing of it is here`,
    );
  }
  let count = 0;
  let before = MAX_VERSION + 1;
  for (;;) {
    const rows = catalog.generations.list(projectId, before, PAGE);
    for (const row of rows) {
      stopping.throwIfAborted();
      before = row.version;
      const { deleted } = await deleteGeneration(parts, row, requestId).catch((error: unknown) => {
        // Somebody else was quicker, and it is gone to where it was moved.
        if (error instanceof StorageError && error.code === 'not_found')
          return { deleted: false, ref: refOf(row) };
        throw error;
      });
      if (deleted) count++;
    }
    if (rows.length < PAGE) return { projectId, deleted: count };
  }
}
