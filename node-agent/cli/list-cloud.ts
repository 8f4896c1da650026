import { parseVersion, StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { type CommandContext, formatBytes, formatTable, sayMore } from './context.ts';

/** Lists what the cloud knows: projects, or the generations of one. */
export async function listInCloud(
  context: CommandContext,
  storage: Storage,
  project: string | undefined,
  { limit, cursor }: { limit: number; cursor?: string },
): Promise<void> {
  if (project === undefined) return listProjects(context, storage, limit, cursor);
  const page = await storage.listCloud(project, {
    limit,
    ...(cursor === undefined ? {} : { cursor: parseVersion(cursor) }),
  });
  if (page.items.length === 0 && cursor === undefined) {
    const state = 'the cloud knows nothing of it';
    throw new StorageError('not_found', `Cannot find project "${project}": ${state}`);
  }
  context.show(page, () =>
    formatTable(
      ['VERSION', 'GENERATION', 'STATUS', 'FILES', 'BYTES', 'CREATED'],
      page.items.map((item) => [
        `v${item.version}`,
        item.generation_id,
        item.purge_at === null ? item.status : `${item.status}, kept until ${item.purge_at}`,
        String(item.file_count ?? '-'),
        formatBytes(item.archive_bytes),
        item.created_at,
      ]),
    ),
  );
  sayMore(context, page.nextCursor);
}

async function listProjects(
  context: CommandContext,
  storage: Storage,
  limit: number,
  cursor: string | undefined,
): Promise<void> {
  const page = await storage.listCloudProjects({
    limit,
    ...(cursor === undefined ? {} : { cursor }),
  });
  context.show(page, () =>
    formatTable(
      ['PROJECT', 'VERSIONS', 'LATEST', 'ACTIVE', 'BYTES', 'OWNER'],
      page.items.map((item) => [
        item.is_deleted ? `${item.project_id} (deleted)` : item.project_id,
        String(item.versions),
        `v${item.latest_version}`,
        item.active_version === null ? '-' : `v${item.active_version}`,
        formatBytes(item.bytes),
        item.owner_id ?? '-',
      ]),
    ),
  );
  sayMore(context, page.nextCursor);
}
