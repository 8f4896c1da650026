import { HOST_LIMITS } from '../_shared/contract/limits.ts';
import { createReadObject } from '../_shared/read-object.ts';
import { sha256Of } from '../_shared/sha256.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';

type Archive = Readonly<{ project_id: string; version: number; object_key: string }>;
type Place = { bucket: string; object_key: string | null; bytes: number };

/**
 * Reads an object back whose eTag proves nothing: that of one that was stored in parts is no MD5.
 *
 * @returns what the database says once the bytes were read; `null` where there is nothing to read, or too much
 */
export async function prove(
  c: HostContext,
  { project_id, version, object_key }: Archive,
): Promise<object | null> {
  const p_items = [{ project_id, version, object_key }];
  const doing = 'find what is to be proven';
  const [place] = await ask<Place[]>(c, 'storage_host_downloads', { p_items }, doing);
  if (place?.object_key == null || place.bytes > HOST_LIMITS.provenBytes) return null;
  const { environment } = c.var;
  const read = createReadObject(environment, environment.secretKey, environment.secretKey);
  const body = await read({ bucket: place.bucket, object_key }, { signal: c.req.raw.signal });
  if (body === null) return null;
  const args = {
    ...{ p_project_id: project_id, p_version: version, p_object_key: object_key },
    p_proven: await sha256Of(await new Response(body).arrayBuffer()),
  };
  return ask(c, 'storage_host_prove', args, 'note what was proven');
}
