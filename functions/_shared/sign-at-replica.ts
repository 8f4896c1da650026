import { AwsClient } from 'aws4fetch';
import { createKeyClient } from './clients.ts';
import type { Replica } from './replicas.ts';

/** What S3 signs for at most, in seconds. */
const S3_EXPIRY_MAX = 7 * 24 * 3600;

/**
 * Makes a URL of an object in a replica: the database says that it is there.
 *
 * @param options.expiresIn seconds; of S3 a week at most
 * @param options.filename what a browser saves it as
 * @returns `null` where it could not be made; else the URL, and for how many seconds it is good
 */
export async function signAtReplica(
  replica: Replica,
  key: string,
  { expiresIn, filename }: { expiresIn: number; filename: string },
): Promise<{ url: string; expiresIn: number } | null> {
  if (replica.kind === 'supabase') {
    const { storage } = createKeyClient(replica.url, replica.secret);
    const asked = { download: filename };
    const { data } = await storage.from(replica.bucket).createSignedUrl(key, expiresIn, asked);
    return data && { url: data.signedUrl, expiresIn };
  }
  const seconds = Math.min(expiresIn, S3_EXPIRY_MAX);
  const { key_id: accessKeyId, secret: secretAccessKey, region, url: base, bucket } = replica;
  const client = new AwsClient({ accessKeyId, secretAccessKey, service: 's3', region });
  const url = new URL(`${base.replace(/\/+$/, '')}/${bucket}/${key}`);
  url.searchParams.set('X-Amz-Expires', String(seconds));
  url.searchParams.set('response-content-disposition', `attachment; filename="${filename}"`);
  url.searchParams.set('response-content-type', 'application/gzip');
  const signed = await client.sign(url, { method: 'GET', aws: { signQuery: true } });
  return { url: signed.url, expiresIn: seconds };
}
