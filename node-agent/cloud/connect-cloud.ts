import { isHostKey } from '../contract.ts';
import { ActivationsBySecretKey } from './activations.ts';
import type { Cloud } from './cloud.ts';
import { type CloudSettings, connect, DEFAULT_TIMEOUTS, type Timeouts } from './connection.ts';
import { CopiesBySecretKey } from './copies.ts';
import { connectByHostKey } from './host-key/host-key.ts';
import { HostsBySecretKey } from './hosts.ts';
import type { Key } from './key.ts';
import { LinksBySecretKey } from './links.ts';
import { ListingBySecretKey } from './listing.ts';
import { ObjectsBySecretKey } from './objects.ts';
import { ProjectFilesBySecretKey } from './project-files.ts';
import { RecordsBySecretKey } from './records.ts';
import { RetentionBySecretKey } from './retention.ts';

/**
 * The cloud, by whichever key there is.
 *
 * @param signal ends every request when the agent stops
 * @param send what sends requests; `null`: fetch
 */
export async function connectCloud(
  settings: CloudSettings,
  signal: AbortSignal,
  timeouts: Timeouts = DEFAULT_TIMEOUTS,
  send: typeof fetch | null = null,
): Promise<{ cloud: Cloud; key: Key }> {
  if (isHostKey(settings.key)) return connectByHostKey(settings, signal, timeouts, send);
  const connection = await connect(settings, signal, timeouts, send);
  const cloud: Cloud = {
    objects: new ObjectsBySecretKey(connection),
    records: new RecordsBySecretKey(connection),
    activations: new ActivationsBySecretKey(connection),
    retention: new RetentionBySecretKey(connection),
    listing: new ListingBySecretKey(connection),
    hosts: new HostsBySecretKey(connection),
    links: new LinksBySecretKey(connection),
    copies: new CopiesBySecretKey(connection),
    projectFiles: new ProjectFilesBySecretKey(connection),
  };
  return { cloud, key: connection.key };
}
