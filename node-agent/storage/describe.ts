import { isInCloud, URL_EXPIRY } from '../contract.ts';
import type { Summary } from '../read/summary.ts';
import type { Receipt } from '../save/receipt.ts';
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
  const url = await within(CLOUD_MS, storage.downloadUrl(generation));
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

/** What comes in time; `null` where it does not, or fails. */
async function within<T>(ms: number, coming: Promise<T>): Promise<T | null> {
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(late.resolve, ms, null);
  try {
    return await Promise.race([coming.catch(() => null), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
