import { toPublic } from '../_shared/environment.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { away } from './away.ts';
import type { HostVariables } from './context.ts';

type Signing = Readonly<{ var: Pick<HostVariables, 'service' | 'environment'> }>;

/**
 * A URL of an object, as users reach the project.
 *
 * @param expiresIn seconds
 * @param filename what a browser saves it as; `null`: it shows it
 * @returns `null` where nothing lies there
 * @throws StorageError `unavailable`
 */
export async function signDownload(
  { var: { service, environment } }: Signing,
  { bucket, object_key }: ObjectPlace,
  expiresIn: number,
  filename: string | null = null,
): Promise<string | null> {
  const options = filename === null ? {} : { download: filename };
  const files = service.storage.from(bucket);
  const { data, error } = await files.createSignedUrl(object_key, expiresIn, options);
  if (error === null) return toPublic(data.signedUrl, environment);
  // Storage says so itself: what stands before it may answer 404 for anything.
  if ((error as { statusCode?: string }).statusCode === '404') return null;
  throw away(`sign "${object_key}"`, error);
}
