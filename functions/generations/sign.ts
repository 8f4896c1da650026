import type { Download } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { isInCloud } from '../_shared/contract/status.ts';
import type { Environment } from '../_shared/environment.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './rows.ts';

/**
 * Makes a URL for the archive of a generation, signed by storage for the user, so that the
 * policy on objects is asked too.
 *
 * @param expiresIn seconds
 * @throws StorageError `conflict` while the archive is not in the bucket
 */
export async function signArchive(
  c: UserContext,
  environment: Environment,
  row: GenerationRow,
  expiresIn: number,
): Promise<Download> {
  const name = `"${row.project_id} v${row.version}"`;
  if (!isInCloud(row.status)) {
    throw new StorageError(
      'conflict',
      `Cannot sign ${name}: it is ${row.status}, not uploaded yet`,
    );
  }
  const expiresAt = new Date(Date.now() + expiresIn * 1000);
  const { data, error } = await c.var.database.storage
    .from(row.bucket)
    .createSignedUrl(row.object_key, expiresIn, {
      download: `${row.project_id}-v${row.version}.tar.gz`,
    });
  if (error !== null) {
    const missing = (error as { statusCode?: string }).statusCode === '404';
    throw missing
      ? new StorageError('not_found', `Cannot find the archive of ${name}`, { cause: error })
      : new StorageError('unavailable', `Cannot sign ${name}: storage did not answer`, {
          cause: error,
        });
  }
  return {
    url: toPublic(data.signedUrl, environment),
    expires_at: expiresAt.toISOString(),
    sha256: row.sha256,
    size: row.archive_bytes,
  };
}

/** The function may know the project under an inner name that users cannot reach. */
function toPublic(url: string, environment: Environment): string {
  return url.startsWith(environment.supabaseUrl)
    ? environment.publicUrl + url.slice(environment.supabaseUrl.length)
    : url;
}
