import { createServiceClient } from '../_shared/clients.ts';
import type { Download } from '../_shared/contract/downloads.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { URL_EXPIRY } from '../_shared/contract/limits.ts';
import { toCdn } from '../_shared/environment.ts';
import { signAtReplica } from '../_shared/sign-at-replica.ts';
import type { UserVariables } from './context.ts';
import type { GenerationRow } from './generation-row.ts';
import { ArchiveNotFound, checkInCloud, formatRow } from './rows.ts';

type Signing = Readonly<{ var: Pick<UserVariables, 'database' | 'environment'> }>;

/** For how long Storage may be silent before a replica is signed at, in milliseconds. */
const PATIENCE_MS = 2000;

/**
 * Makes a URL for the archive of a generation: at the replica of the asked region where it has a copy, else at the
 * project itself, signed by storage for the user, so that the policy on objects is asked too; else, while storage is away,
 * at any replica that has it.
 *
 * @param expiresIn seconds
 * @param region as the replica says it is; left out: where the function runs
 * @throws StorageError `conflict` while the archive is not in the bucket
 */
export async function signArchive(
  c: Signing,
  row: GenerationRow,
  expiresIn: number,
  region?: string,
): Promise<Download> {
  checkInCloud(row, 'sign');
  const { replicas, region: here } = c.var.environment;
  if (replicas.size === 0) return signHere(c, row, expiresIn);
  const near = region ?? here;
  const copy = near === null ? null : await signCopy(c, row, expiresIn, near);
  if (copy !== null) return copy;
  try {
    return await inTime(row, signHere(c, row, expiresIn));
  } catch (error) {
    const isAway = error instanceof StorageError && error.code === 'unavailable';
    const other = isAway ? await signCopy(c, row, expiresIn, null) : null;
    if (other === null) throw error;
    return other;
  }
}

async function signHere(c: Signing, row: GenerationRow, expiresIn: number): Promise<Download> {
  const expiresAt = new Date(Date.now() + expiresIn * 1000);
  const { data, error } = await c.var.database.storage
    .from(row.bucket)
    .createSignedUrl(row.object_key, expiresIn, { download: nameOf(row) });
  if (error !== null) {
    if ((error as { statusCode?: string }).statusCode === '404')
      throw new ArchiveNotFound(row, error);
    throw away(row, error);
  }
  return {
    url: toCdn(data.signedUrl, c.var.environment),
    expires_at: expiresAt.toISOString(),
    sha256: row.sha256,
    size: row.archive_bytes,
    link: null,
    region: null,
  };
}

/**
 * At a replica that has a copy, as the database knows. The row says that it is the user's.
 *
 * @param region of the replica; `null`: of any
 * @returns `null` where there is none, or nobody knows
 */
async function signCopy(
  c: Signing,
  row: GenerationRow,
  expiresIn: number,
  region: string | null,
): Promise<Download | null> {
  const { environment } = c.var;
  const isNear = (name: string) =>
    region === null || environment.replicas.get(name)?.region === region;
  if (![...environment.replicas.keys()].some(isNear)) return null;
  const { bucket: p_bucket, object_key: p_object_key } = row;
  const service = createServiceClient(environment);
  const { data } = await service.rpc('storage_copies_of', { p_bucket, p_object_key });
  for (const name of (data as string[] | null) ?? []) {
    const replica = environment.replicas.get(name);
    if (replica === undefined || !isNear(name)) continue;
    const given = { expiresIn, filename: nameOf(row) };
    const signed = await signAtReplica(replica, row.object_key, given).catch(() => null);
    if (signed === null) continue;
    return {
      url: signed.url,
      expires_at: new Date(Date.now() + signed.expiresIn * 1000).toISOString(),
      sha256: row.sha256,
      size: row.archive_bytes,
      link: null,
      region: replica.region,
    };
  }
  return null;
}

async function inTime<T>(row: GenerationRow, coming: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(away(row)), PATIENCE_MS);
  try {
    return await Promise.race([coming, late.promise]);
  } finally {
    clearTimeout(timer);
    coming.catch(() => {});
  }
}

const nameOf = (row: GenerationRow) => `${row.project_id}-v${row.version}.tar.gz`;

function away(row: GenerationRow, cause?: unknown): StorageError {
  const message = `Cannot sign ${formatRow(row)}: storage did not answer`;
  return new StorageError('unavailable', message, { cause });
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
