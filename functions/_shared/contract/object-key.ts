import { isId } from './ids.ts';
import { folderName, parseFolderName, type Ref } from './ref.ts';

/** The media type of every archive in the bucket. */
export const ARCHIVE_TYPE = 'application/gzip';

/** Where archives are kept unless the configuration says otherwise. */
export const DEFAULT_BUCKET = 'codebegen-projects';

/**
 * The key of a generation's archive in the bucket. Its parts are ids, so that it
 * needs no encoding anywhere (storage clients do not encode keys).
 *
 * @param replacementSha256 the archive's sha256, for the archive of a replacement:
 *   objects are immutable, so it gets a key of its own
 */
export function objectKey(ref: Ref, replacementSha256?: string): string {
  const suffix = replacementSha256 === undefined ? '' : `.${replacementSha256.slice(0, 12)}`;
  return `${ref.projectId}/generations/${folderName(ref)}${suffix}.tar.gz`;
}

/**
 * Whose archive lies under a key; `null` for a key that is none of ours. Where the first 12 digits
 * of the hash were given out before, a key has more of them.
 */
export function parseObjectKey(key: string): Ref | null {
  const [projectId = '', folder, name = '', ...rest] = key.split('/');
  const generation = /^(.+?)(\.[0-9a-f]{12,64})?\.tar\.gz$/.exec(name)?.[1];
  const parsed = generation === undefined ? null : parseFolderName(generation);
  const isKey = isId(projectId) && folder === 'generations' && rest.length === 0;
  return isKey && parsed !== null ? { projectId, ...parsed } : null;
}
