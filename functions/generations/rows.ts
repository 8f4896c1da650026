import type { Generation } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserContext } from './context.ts';

/** A generation as the database gives it to its owner. */
export type GenerationRow = Generation & { bucket: string; object_key: string };

/** Puts a row into the shape and the time format of the API. */
export function toGeneration(row: Generation): Generation {
  return {
    project_id: row.project_id,
    version: row.version,
    generation_id: row.generation_id,
    status: row.status,
    active: row.active,
    file_count: row.file_count,
    source_bytes: row.source_bytes,
    archive_bytes: row.archive_bytes,
    digest: row.digest,
    sha256: row.sha256,
    created_at: toIso(row.created_at),
    uploaded_at: row.uploaded_at === null ? null : toIso(row.uploaded_at),
  };
}

/** PostgreSQL prints microseconds and an offset; the API milliseconds and `Z`. */
export function toIso(time: string): string {
  return new Date(time).toISOString();
}

/**
 * Finds a generation of the user with one query.
 *
 * @param generationId where given it must match
 * @throws StorageError `not_found` for what is missing, deleted or another's: they look the same
 */
export async function getGenerationRow(
  c: UserContext,
  projectId: string,
  version: number,
  generationId?: string,
): Promise<GenerationRow> {
  const row = await callDatabase<GenerationRow | null>(
    c.var.database,
    'storage_get_generation',
    { p_project_id: projectId, p_version: version },
    `find "${projectId} v${version}"`,
  );
  if (row === null || (generationId !== undefined && row.generation_id !== generationId)) {
    throw notFound(projectId, version);
  }
  return row;
}

export function notFound(projectId: string, version?: number): StorageError {
  const what = version === undefined ? projectId : `${projectId} v${version}`;
  return new StorageError('not_found', `Cannot find "${what}"`);
}
