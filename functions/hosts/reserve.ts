import type { ReserveBodySchema, UploadsBodySchema } from '../_shared/contract/hosts.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { ask } from './ask.ts';
import type { HostContext } from './context.ts';
import { removeUnneeded } from './remove-unneeded.ts';
import { signUploads } from './sign-uploads.ts';

type Reserved = {
  outcome: string;
  status?: string;
  bucket: string;
  object_key?: string;
  unneeded?: ObjectPlace[];
};

/** `POST /reserve`: versions and keys, before a byte is sent, with tokens to send what is to be sent. */
export const reserve = (c: HostContext<{ json: typeof ReserveBodySchema }>) => reserveAll(c, false);

/** `POST /replace`: the same, of what may take the place of other content of the host's. */
export const replace = (c: HostContext<{ json: typeof ReserveBodySchema }>) => reserveAll(c, true);

async function reserveAll(c: HostContext<{ json: typeof ReserveBodySchema }>, replace: boolean) {
  const { host_id, items } = c.req.valid('json');
  const p_items = items.map((item) => ({ ...item, host_id, replace }));
  const doing = replace ? 'replace' : 'reserve';
  const answers = await ask<Reserved[]>(c, 'storage_host_reserve', { p_items }, doing);
  const toSend = answers.filter(
    ({ outcome, status }) => outcome === 'reserved' && status === 'pending',
  );
  const tokens = await signUploads(c, toSend as ObjectPlace[]);
  const byAnswer = new Map(toSend.map((answer, i) => [answer, tokens[i]]));
  const withTokens = answers.map((answer) => ({
    ...answer,
    upload: byAnswer.get(answer) ?? null,
  }));
  return c.json({ items: await removeUnneeded(c, withTokens) });
}

/** `POST /uploads`: tokens once more, for what was reserved and is not there yet. */
export async function signAgain(c: HostContext<{ json: typeof UploadsBodySchema }>) {
  const args = { p_object_keys: c.req.valid('json').object_keys };
  const places = await ask<ObjectPlace[]>(c, 'storage_host_uploads', args, 'sign uploads');
  const tokens = await signUploads(c, places);
  return c.json({ items: tokens.filter((token) => token !== null) });
}
