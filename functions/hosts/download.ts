import type { HostDownloadBodySchema } from '../_shared/contract/hosts.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';
import { signDownload } from './sign-download.ts';

type Place = { bucket: string; object_key: string | null };

/** `POST /download`: signed URLs of archives, with what Storage says of each. */
export async function download(c: HostContext<{ json: typeof HostDownloadBodySchema }>) {
  const { items, expires_in, filename } = c.req.valid('json');
  const doing = 'download';
  const places = await ask<Place[]>(c, 'storage_host_downloads', { p_items: items }, doing);
  const signed = await Promise.all(
    places.map(async ({ object_key, ...place }) => {
      if (object_key === null) return { ...place, object_key };
      const url = await signDownload(c, { ...place, object_key }, expires_in, filename);
      // It went meanwhile.
      return url === null ? { ...place, object_key: null } : { ...place, object_key, url };
    }),
  );
  return c.json({ items: signed });
}
