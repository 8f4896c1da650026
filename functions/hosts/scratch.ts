import type { ScratchBodySchema } from '../_shared/contract/hosts.ts';
import { ask } from './ask.ts';
import { away } from './away.ts';
import type { HostContext } from './context.ts';
import { signDownload } from './sign-download.ts';
import { signUploads } from './sign-uploads.ts';

/** Of a download that begins at once, in seconds. */
const URL_SECONDS = 60;

/**
 * `POST /scratch`: an object that stands for nothing, for a host that looks whether it could send and get one. Its
 * folder is that of the key, and no project's.
 */
export async function scratch(c: HostContext<{ json: typeof ScratchBodySchema }>) {
  const asked = c.req.valid('json');
  const doing = 'look after a scratch object';
  const who = { p_host_id: null, p_count: null };
  const { bucket } = await ask<{ bucket: string }>(c, 'storage_host_check', who, doing);
  const name = asked.do === 'begin' ? crypto.randomUUID() : asked.name;
  const object_key = `.doctor-${c.var.keySha256.slice(0, 32)}/${name}.gz`;
  const place = { bucket, object_key };
  if (asked.do === 'begin') {
    const [upload = null] = await signUploads(c, [place]);
    return c.json({ name, upload });
  }
  if (asked.do === 'sign') {
    return c.json({ name, url: await signDownload(c, place, URL_SECONDS) });
  }
  const { error } = await c.var.service.storage.from(bucket).remove([object_key]);
  if (error !== null) throw away(doing, error);
  return c.json({ name });
}
