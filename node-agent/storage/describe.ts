import { isInCloud, URL_EXPIRY } from '../contract.ts';
import type { Summary } from '../read/summary.ts';
import type { Receipt } from '../save/receipt.ts';
import { within } from '../threads/within.ts';
import type { Storage } from './storage.ts';

/** What every answer that shows a generation says of where it is. */
export type Description = Readonly<{
  /** `null` where nothing serves it yet: no cloud has it, and no daemon runs. */
  downloadUrl: string | null;
  /** Seconds. */
  expiresIn: number | null;
  cloudStorageEnabled: boolean;
  /** `localPath` is `null` where the cloud alone has it. */
  storage: { localPath: string | null; cloudEnabled: boolean; uploaded: boolean };
}>;

/** How long the cloud may take to sign, in milliseconds. */
const CLOUD_MS = 1000;

/** Says where a generation is, and gives a URL that works now, if there is one. */
export async function describe(
  storage: Storage,
  generation: Receipt | Summary,
): Promise<Description> {
  const { cloud } = await storage.status();
  // What is known is told, whether or not the cloud can sign right now: nobody waits for it.
  const url = await within(
    CLOUD_MS,
    storage.downloadUrl(generation).catch(() => null),
  );
  return {
    downloadUrl: url?.url ?? null,
    expiresIn: url === null ? null : URL_EXPIRY.default,
    cloudStorageEnabled: cloud.enabled,
    storage: {
      localPath: 'path' in generation ? generation.path : generation.localPath,
      cloudEnabled: cloud.enabled,
      uploaded: isInCloud(generation.status),
    },
  };
}
