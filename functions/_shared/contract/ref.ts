import { StorageError } from './errors.ts';
import { isId, isVersion } from './ids.ts';

/** Names one generation for good. */
export type Ref = Readonly<{ projectId: string; version: number; generationId: string }>;

const FOLDER_PATTERN = /^v([1-9]\d{0,9})__(.+)$/;

/** How messages name a generation: `"abc-123 v1"`. */
export function formatRef(ref: Pick<Ref, 'projectId' | 'version'>): string {
  return `"${ref.projectId} v${ref.version}"`;
}

/** For what is not there: a generation, or where there is no version a project. */
export function notFound(
  where: Readonly<{ projectId: string; version?: number | undefined }>,
): StorageError {
  const { projectId, version } = where;
  const what = version === undefined ? `"${projectId}"` : formatRef({ projectId, version });
  return new StorageError('not_found', `Cannot find ${what}`);
}

/** The folder of a generation inside `{project_id}/generations`. */
export function folderName(ref: Pick<Ref, 'version' | 'generationId'>): string {
  return `v${ref.version}__${ref.generationId}`;
}

/** Reads the name that {@link folderName} makes; `null` for any other name. */
export function parseFolderName(name: string): Pick<Ref, 'version' | 'generationId'> | null {
  const match = FOLDER_PATTERN.exec(name);
  const version = Number(match?.[1]);
  const generationId = match?.[2];
  return isVersion(version) && isId(generationId) ? { version, generationId } : null;
}
