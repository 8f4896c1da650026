import type { SupabaseClient } from '@supabase/supabase-js';
import type { Generation } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { formatRef, notFound } from '../_shared/contract/ref.ts';
import { isInCloud } from '../_shared/contract/status.ts';
import { callDatabase } from '../_shared/database.ts';
import type { UserVariables } from './context.ts';
import type { GenerationRow } from './generation-row.ts';

/** What a route is asked for. `generationId`, where given, must match. */
export type Asked = Readonly<{ project: string; version: number; generation?: string | undefined }>;

/** Puts a row into the shape and the time format of the API. */
export function toGeneration(row: Generation): Generation {
  return {
    project_id: row.project_id,
    version: row.version,
    generation_id: row.generation_id,
    status: row.status,
    failure: row.failure,
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
 * @throws StorageError `not_found` for what is missing, deleted or another's: they look the same
 */
export async function getGenerationRow(
  c: { var: Pick<UserVariables, 'findGeneration'> },
  asked: Asked,
): Promise<GenerationRow> {
  return checkFound(await c.var.findGeneration(asked.project, asked.version), asked);
}

/** How PostgreSQL says that a text of the caller's is none: it holds a NUL, or half a character. */
const NO_TEXT: ReadonlySet<string> = new Set(['22021', '22P05']);

/**
 * Calls an SQL function that answers with a generation, and with more of it; `null` for none.
 *
 * @throws StorageError `corrupt` where the manifest in the database is damaged
 */
export async function queryGeneration<T extends GenerationRow = GenerationRow>(
  database: SupabaseClient,
  name: string,
  { project, version }: Asked,
  args: Record<string, unknown> = {},
): Promise<T | null> {
  const found = formatRef({ projectId: project, version });
  const given = { p_project_id: project, p_version: version, ...args };
  try {
    return await callDatabase<T | null>(database, name, given, `find ${found}`);
  } catch (error) {
    const isOfAValue = error instanceof StorageError && error.code === 'invalid_input';
    const { code = '' } = ((error as Error).cause ?? {}) as { code?: string };
    if (!isOfAValue || NO_TEXT.has(code)) throw error;
    // What was asked for is checked before: it is a value in the manifest.
    throw damagedManifest(found, error);
  }
}

/** For a manifest in the database that does not say what it should. */
export function damagedManifest(name: string, cause?: unknown): StorageError {
  return new StorageError('corrupt', `Cannot read ${name}: its manifest is damaged`, { cause });
}

/** @throws StorageError `not_found` where there is none, or not the one that was asked for */
export function checkFound<T extends GenerationRow>(row: T | null, asked: Asked): T {
  const { project, version, generation } = asked;
  if (row === null || (generation !== undefined && row.generation_id !== generation)) {
    throw notFound({ projectId: project, version });
  }
  return row;
}

/**
 * Checks that the archive is in the bucket.
 *
 * @param doing the verb of the message, for example `sign`
 * @throws StorageError `conflict`
 */
export function checkInCloud(row: GenerationRow, doing: string): void {
  if (isInCloud(row.status)) return;
  const state =
    row.status === 'failed'
      ? `its upload failed: ${row.failure}`
      : `it is ${row.status}, not uploaded yet`;
  throw new StorageError('conflict', `Cannot ${doing} ${formatRow(row)}: ${state}`);
}

/** How messages name a generation: `"abc-123 v1"`. */
export function formatRow({ project_id: projectId, version }: GenerationRow): string {
  return formatRef({ projectId, version });
}

/** For a cursor that no page gave. */
export function notOfThisList(): StorageError {
  return new StorageError('invalid_input', 'Cannot use the request: cursor: not one of this list');
}

/** For an archive that is listed and yet not in the bucket. */
export class ArchiveNotFound extends StorageError {
  constructor(row: GenerationRow, cause?: unknown) {
    super('not_found', `Cannot find the archive of ${formatRow(row)}`, { cause });
  }
}

/**
 * Answers once more where the archive was gone: a replacement may have come between the query and
 * the reading, and taken its place.
 */
export function onceMore<C, R>(answer: (c: C) => Promise<R>): (c: C) => Promise<R> {
  return (c) =>
    answer(c).catch((error: unknown) => {
      if (error instanceof ArchiveNotFound) return answer(c);
      throw error;
    });
}
