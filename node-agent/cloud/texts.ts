/** Small JSON texts in a bucket. */
import type { Connection } from './connection.ts';
import { fromPlatform } from './translate.ts';

/**
 * The text of a small object in the bucket of a connection.
 *
 * @param who is asked, for messages
 * @returns `null` where there is none
 * @throws StorageError `unavailable`
 */
export async function readText(
  { client, settings }: Connection,
  key: string,
  who: string,
): Promise<string | null> {
  const { data, error } = await client.storage.from(settings.bucket).download(key);
  if (error === null) return data.text();
  const known = fromPlatform(error, `read "${key}"`, who);
  if (known.code === 'not_found') return null;
  throw known;
}

/**
 * Puts a small text in the place of what was there.
 *
 * @throws StorageError `not_found` where there is no such bucket, `unavailable`
 */
export async function writeText(
  { client }: Connection,
  { bucket, key }: Readonly<{ bucket: string; key: string }>,
  text: string,
  who: string,
): Promise<void> {
  const options = { contentType: 'application/json', upsert: true };
  const { error } = await client.storage.from(bucket).upload(key, text, options);
  if (error !== null) throw fromPlatform(error, `write "${key}"`, who);
}
