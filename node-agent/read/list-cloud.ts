import type { Cloud } from '../cloud/cloud.ts';
import type { CloudGeneration, CloudProject } from '../cloud/listing.ts';
import { PAGE, parseId, StorageError } from '../contract.ts';
import { type ListPage, toPage } from './list.ts';

/** The projects that the cloud knows, by id. @throws StorageError `not_found` where the database is not there */
export async function listCloudProjects(
  { listing }: Cloud,
  options: { limit?: number; cursor?: string },
): Promise<ListPage<CloudProject, string>> {
  const limit = options.limit ?? PAGE.default;
  const page = await listing.listProjects(options.cursor ?? '', limit + 1);
  if (page === null) {
    throw new StorageError('not_found', 'Cannot list: the database has none of our tables');
  }
  return toPage(page, limit, ({ project_id }) => project_id);
}

/** The generations of a project that the cloud knows, by version. */
export async function listCloud(
  { listing }: Cloud,
  projectId: string,
  options: { limit?: number; cursor?: number },
): Promise<ListPage<CloudGeneration, number>> {
  const limit = options.limit ?? PAGE.default;
  const project = parseId(projectId, 'project id');
  const page = await listing.listGenerations(project, options.cursor ?? 0, limit + 1);
  return toPage(page, limit, ({ version }) => version);
}
