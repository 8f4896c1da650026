/** The four calls that code written for the Python system makes, with the same meaning. */

import { toWire } from '../events/wire.ts';
import type { RefInput } from '../read/find.ts';
import type { Receipt } from '../save/receipt.ts';
import type { SaveInput } from '../save/request.ts';
import { type Description, describe } from './describe.ts';
import type { StorageStatus } from './status.ts';
import type { Storage } from './storage.ts';

/** What a response gets: its names are those of the old responses. */
export type Enrichment = Readonly<{
  download_url: string | null;
  /** Seconds. */
  expires_in: number | null;
  cloud_storage_enabled: boolean;
  storage: Readonly<{ local_path: string | null; cloud_enabled: boolean; uploaded: boolean }>;
}>;

/**
 * Saves a generation, in the place of one under the same name where there is one, and says where
 * it is: its files lie there. It never waits for the cloud.
 *
 * @throws StorageError as `storage.save`
 */
export async function saveGenerationWithCloud(
  storage: Storage,
  input: SaveInput,
): Promise<Receipt & Description> {
  const receipt = await storage.save({ replace: true, tree: 'now', ...input });
  return { ...receipt, ...(await describe(storage, receipt)) };
}

/**
 * A URL that works now: the cloud's, else that of a daemon on this store; `null` where there is
 * neither.
 *
 * @param options.expiresIn seconds
 * @throws StorageError `not_found`, `unavailable`
 */
export async function getDownloadUrlForGeneration(
  storage: Storage,
  ref: RefInput,
  options: { expiresIn?: number } = {},
): Promise<string | null> {
  return (await storage.downloadUrl(ref, options))?.url ?? null;
}

/**
 * Adds to a response of the generator where its generation is.
 *
 * @throws StorageError `not_found`
 */
export async function enrichGenerationResponse<T extends object>(
  storage: Storage,
  response: T,
  ref: RefInput,
): Promise<T & Enrichment> {
  const description = await describe(storage, await storage.summary(ref));
  return { ...response, ...(toWire(description) as Enrichment) };
}

/** How the storage is: where it keeps things, whether the cloud is on, and what is owed to it. */
export async function getStorageInfo(storage: Storage): Promise<StorageStatus> {
  return storage.status();
}
