import type { Download } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { URL_EXPIRY } from '../_shared/contract/limits.ts';
import { toPublic } from '../_shared/environment.ts';
import type { UserVariables } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { ArchiveNotFound, checkInCloud, formatRow } from './rows.ts';

type Signing = Readonly<{ var: Pick<UserVariables, 'database' | 'environment'> }>;

/**
 * Makes a URL for the archive of a generation, signed by storage for the user, so that the
 * policy on objects is asked too.
 *
 * @param expiresIn seconds
 * @throws StorageError `conflict` while the archive is not in the bucket
 */
export async function signArchive(
  c: Signing,
  row: GenerationRow,
  expiresIn: number,
): Promise<Download> {
  checkInCloud(row, 'sign');
  const expiresAt = new Date(Date.now() + expiresIn * 1000);
  const { data, error } = await c.var.database.storage
    .from(row.bucket)
    .createSignedUrl(row.object_key, expiresIn, {
      download: `${row.project_id}-v${row.version}.tar.gz`,
    });
  if (error !== null) {
    if ((error as { statusCode?: string }).statusCode === '404')
      throw new ArchiveNotFound(row, error);
    const message = `Cannot sign ${formatRow(row)}: storage did not answer`;
    throw new StorageError('unavailable', message, { cause: error });
  }
  return {
    url: toPublic(data.signedUrl, c.var.environment),
    expires_at: expiresAt.toISOString(),
    sha256: row.sha256,
    size: row.archive_bytes,
  };
}

/**
 * Makes the error for what is more than one request may answer: it tells where the archive is.
 *
 * @param message what cannot be done, and the limit
 */
export async function tooLarge(
  c: Signing,
  row: GenerationRow,
  message: string,
): Promise<StorageError> {
  const signed = await signArchive(c, row, URL_EXPIRY.default).catch(() => null);
  return new StorageError('too_large', `${message}; the tar.gz has it`, {
    ...(signed === null ? {} : { downloadUrl: signed.url }),
  });
}
