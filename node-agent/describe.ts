import type { Storage } from './agent.ts';
import { isInCloud, URL_EXPIRY } from './contract.ts';
import type { Receipt, Summary } from './types.ts';

/** What every answer that shows a generation says of where it is. */
export type Description = Readonly<{
  /** `null` where nothing serves it yet: no cloud has it, and no daemon runs. */
  downloadUrl: string | null;
  /** Seconds. */
  expiresIn: number | null;
  cloudStorageEnabled: boolean;
  storage: { localPath: string; cloudEnabled: boolean; uploaded: boolean };
}>;

/** Says where a generation is, and gives a URL that works now, if there is one. */
export async function describe(
  storage: Storage,
  generation: Receipt | Summary,
): Promise<Description> {
  const { cloud } = await storage.status();
  // What is known is told, whether or not the cloud can sign right now.
  const url = await storage.downloadUrl(generation).catch(() => null);
  return {
    downloadUrl: url?.url ?? null,
    expiresIn: url === null ? null : URL_EXPIRY.default,
    cloudStorageEnabled: cloud.enabled,
    storage: {
      localPath: storage.pathOf(generation),
      cloudEnabled: cloud.enabled,
      uploaded: isInCloud(generation.status),
    },
  };
}
