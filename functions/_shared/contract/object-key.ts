import { folderName, type Ref } from './ref.ts';

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
