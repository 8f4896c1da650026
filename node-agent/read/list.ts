import type { Catalog } from '../catalog/catalog.ts';
import { MAX_VERSION, PAGE, parseId } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { Scan } from '../upkeep/scan.ts';
import { type Summary, summaryOf } from './summary.ts';

export type ProjectSummary = Readonly<{
  projectId: string;
  ownerId: string | null;
  versions: number;
  latestVersion: number;
  bytes: number;
}>;

export type ListPage<T, C> = Readonly<{ items: T[]; nextCursor: C | null }>;

type Parts = Readonly<{ catalog: Catalog; scan: Scan; store: Store; isCloudOn: boolean }>;

/** The generations of a project, newest version first. A project that is not there has none. */
export async function listGenerations(
  parts: Parts,
  projectId: string,
  options: { limit?: number; cursor?: number },
): Promise<ListPage<Summary, number>> {
  const limit = options.limit ?? PAGE.default;
  const before = options.cursor ?? MAX_VERSION + 1;
  const project = parseId(projectId, 'project id');
  const { catalog, scan } = parts;
  await scan.project(project);
  const rows = catalog.generations.list(project, before, limit + 1);
  const page = toPage(rows, limit, ({ version }) => version);
  return { ...page, items: page.items.map((row) => summaryOf(row, parts)) };
}

/** The projects, by id. */
export async function listProjects(
  parts: Parts,
  options: { limit?: number; cursor?: string },
): Promise<ListPage<ProjectSummary, string>> {
  const limit = options.limit ?? PAGE.default;
  const rows = await projectsAfter(parts, options.cursor ?? '', limit + 1);
  const page = toPage(rows, limit, ({ id }) => id);
  const items = page.items.map((row) => ({
    projectId: row.id,
    ownerId: row.owner_id,
    versions: row.versions,
    latestVersion: row.latest_version,
    bytes: row.source_bytes,
  }));
  return { ...page, items };
}

/**
 * A page of what is listed.
 *
 * @param rows one more than the limit, where there are more
 * @param cursorOf where the next page goes on, after its last one
 */
export function toPage<T, C>(
  rows: readonly T[],
  limit: number,
  cursorOf: (last: T) => C,
): ListPage<T, C> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const hasMore = rows.length > limit && last !== undefined;
  return { items, nextCursor: hasMore ? cursorOf(last) : null };
}

/** What lies on disk in this part of the list is read first, where it is not read yet. */
async function projectsAfter({ catalog, scan }: Parts, after: string, count: number) {
  for (;;) {
    const rows = catalog.projects.list(after, count);
    const last = rows.length < count ? null : rows.at(-1)!.id;
    if (!(await scan.range(after, last, count))) return rows;
  }
}
