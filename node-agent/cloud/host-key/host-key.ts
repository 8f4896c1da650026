import { readAnswer } from '../answer.ts';
import type { Cloud } from '../cloud.ts';
import type { CloudSettings, Timeouts } from '../connection.ts';
import { Key } from '../key.ts';
import { Transfers } from '../transfers.ts';
import { ActivationsByHostKey } from './activations.ts';
import { HostApi } from './api.ts';
import { ListingByHostKey } from './listing.ts';
import {
  copiesBySecretKey,
  hostsBySecretKey,
  linksBySecretKey,
  projectFilesByFunction,
} from './not-for-hosts.ts';
import { ObjectsByHostKey } from './objects.ts';
import { RecordsByHostKey } from './records.ts';
import { RetentionByHostKey } from './retention.ts';
import { UploadTokens } from './tokens.ts';

/**
 * The cloud for a host with a key of its own: it asks the function `hosts` alone, and sends and fetches archives by
 * the signed URLs that it is given.
 *
 * @param signal ends every request when the agent stops
 * @param send what sends requests
 */
export function connectByHostKey(
  settings: CloudSettings,
  signal: AbortSignal,
  timeouts: Timeouts,
  send: typeof fetch | null,
): { cloud: Cloud; key: Key } {
  const key = new Key(settings.key, settings.keyFile ?? null);
  const api = new HostApi(settings, key, signal, timeouts, send);
  // To Storage, which is told by a token what may be done: it never sees the key.
  const fetchByToken: typeof fetch = async (input, init) => {
    const timeout = AbortSignal.timeout(timeouts.transferMs);
    const signals = [signal, timeout, ...(init?.signal ? [init.signal] : [])];
    const url = String(input instanceof Request ? input.url : input);
    const answer = await (send ?? fetch)(url, { ...init, signal: AbortSignal.any(signals) });
    return readAnswer(answer, url);
  };
  const transfers = new Transfers(signal, send);
  const tokens = new UploadTokens(api);
  const records = new RecordsByHostKey(api, tokens);
  const connection = { settings, fetch: fetchByToken, transfers, timeouts };
  const cloud: Cloud = {
    objects: new ObjectsByHostKey(connection, api, tokens, records),
    records,
    activations: new ActivationsByHostKey(api),
    retention: new RetentionByHostKey(api),
    listing: new ListingByHostKey(api),
    hosts: hostsBySecretKey,
    links: linksBySecretKey,
    copies: copiesBySecretKey,
    projectFiles: projectFilesByFunction,
  };
  return { cloud, key };
}
