/** Whether the key of this host opens what the agent needs, and for how long. */

import { type CloudSettings, DEFAULT_TIMEOUTS } from '../cloud/connection.ts';
import { HostApi } from '../cloud/host-key/api.ts';
import { Key } from '../cloud/key.ts';
import { ARCHIVE_TYPE, HostCheckSchema, ScratchSchema, StorageError } from '../contract.ts';
import { fail, type Outcome, pass, warn } from './check.ts';
import { fetchInTime } from './fetch-in-time.ts';
import { tryAll } from './round-trip.ts';

const DAY_MS = 24 * 3_600_000;
/** One that ends sooner is told. */
const SOON_MS = 14 * DAY_MS;

/** What the key opens, and when it ends. */
export async function checkHostKey(settings: CloudSettings): Promise<Outcome> {
  const asked = apiOf(settings).ask('/check', {}, HostCheckSchema, 'check the key');
  const [said] = await Promise.allSettled([asked]);
  if (said.status === 'rejected') return refused(said.reason);
  const { name, read, delete: deletes, bucket, expires_at } = said.value;
  const rights = `reads ${read === 'all' ? 'all' : 'its own'}, deletes ${deletes === 'own' ? 'its own' : 'nothing'}`;
  const why = `it is that of "${name}": ${rights}, writes into "${bucket}"`;
  if (bucket !== settings.bucket) {
    return warn(
      `${why}, and SUPABASE_BUCKET is "${settings.bucket}"`,
      `Set SUPABASE_BUCKET=${bucket}: the key says where`,
    );
  }
  if (expires_at === null) return pass(`${why}, and does not end`);
  const left = Date.parse(expires_at) - Date.now();
  const ends = `${why}, and ends ${expires_at}`;
  if (left > SOON_MS) return pass(ends);
  return warn(ends, `The operator makes another one: codebegen-storage hosts rotate ${name}`);
}

function apiOf(settings: CloudSettings): HostApi {
  const key = new Key(settings.key, settings.keyFile ?? null);
  return new HostApi(settings, key, new AbortController().signal, DEFAULT_TIMEOUTS, null);
}

/** What an upload and a download do, with a scratch object: nothing is left of it. */
export async function checkHostRoundTrip(settings: CloudSettings): Promise<Outcome> {
  const api = apiOf(settings);
  const scratch = (body: object) => api.ask('/scratch', body, ScratchSchema, 'try a round trip');
  const [began] = await Promise.allSettled([scratch({ do: 'begin' })]);
  if (began.status === 'rejected') return refused(began.reason);
  const { name, upload } = began.value;
  if (upload == null) {
    return fail('the function gives no token for an upload', 'Look at the logs of `hosts`');
  }
  const bytes = Buffer.from(`doctor ${name}`);
  const at = `${settings.url}/storage/v1/object/upload/sign/${upload.bucket}/${upload.object_key}`;
  const put = () =>
    fetchInTime(`${at}?token=${upload.token}`, {
      method: 'PUT',
      headers: { 'content-type': ARCHIVE_TYPE },
      body: bytes,
    });
  const sign = async () => (await scratch({ do: 'sign', name })).url ?? null;
  const get = async (headers: HeadersInit = {}) => {
    const { pathname, search } = new URL((await sign()) ?? settings.url);
    // By our own way: users may know the project under another name.
    const answer = await fetchInTime(`${settings.url}${pathname}${search}`, { headers });
    return Buffer.from(await answer.arrayBuffer());
  };
  const end = () => scratch({ do: 'end', name });
  return tryAll(
    [
      ['find nothing where nothing is', async () => (await sign()) === null],
      ['put', async () => (await put()).ok],
      ['refuse to put twice', async () => !(await put()).ok],
      ['sign and get', async () => (await get()).equals(bytes)],
      ['get a range', async () => (await get({ range: 'bytes=0-5' })).equals(bytes.subarray(0, 6))],
      ['remove', async () => (await end()).name === name],
      ['find nothing again', async () => (await sign()) === null],
    ],
    end,
  );
}

function refused(error: unknown): Outcome {
  if (!(error instanceof StorageError)) throw error;
  return fail(
    error.message,
    error.code === 'unauthenticated'
      ? 'The operator makes another one: codebegen-storage hosts rotate, or hosts add'
      : 'Try again; where it is not deployed: npx supabase functions deploy generations hosts (docs/setup.md)',
  );
}
