import { StorageError } from '../_shared/contract/errors.ts';
import type { HostDownloadBodySchema } from '../_shared/contract/hosts.ts';
import { toPublic } from '../_shared/environment.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';

type Place = { bucket: string; object_key: string | null };

/** `POST /download`: signed URLs of archives, with what Storage says of each. */
export async function download(c: HostContext<{ json: typeof HostDownloadBodySchema }>) {
  const { items, expires_in, filename } = c.req.valid('json');
  const doing = 'download';
  const places = await ask<Place[]>(c, 'storage_host_downloads', { p_items: items }, doing);
  const { service, environment } = c.var;
  const signed = await Promise.all(
    places.map(async (place) => {
      if (place.object_key === null) return place;
      const files = service.storage.from(place.bucket);
      const options = filename === null ? {} : { download: filename };
      const { data, error } = await files.createSignedUrl(place.object_key, expires_in, options);
      if (error === null) return { ...place, url: toPublic(data.signedUrl, environment) };
      // It went meanwhile.
      if ((error as { statusCode?: string }).statusCode === '404') {
        return { ...place, object_key: null };
      }
      const message = `Cannot sign "${place.object_key}": storage did not answer`;
      throw new StorageError('unavailable', message, { cause: error });
    }),
  );
  return c.json({ items: signed });
}
