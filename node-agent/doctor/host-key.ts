/** Whether the key of this host opens what the agent needs, and for how long. */

import { type CloudSettings, DEFAULT_TIMEOUTS } from '../cloud/connection.ts';
import { HostApi } from '../cloud/host-key/api.ts';
import { Key } from '../cloud/key.ts';
import { HostCheckSchema, StorageError } from '../contract.ts';
import { fail, type Outcome, pass, warn } from './check.ts';

const DAY_MS = 24 * 3_600_000;
/** One that ends sooner is told. */
const SOON_MS = 14 * DAY_MS;

/** What the key opens, and when it ends. */
export async function checkHostKey(settings: CloudSettings): Promise<Outcome> {
  const key = new Key(settings.key, settings.keyFile ?? null);
  const { signal } = new AbortController();
  const api = new HostApi(settings, key, signal, DEFAULT_TIMEOUTS, null);
  const asked = api.ask('/check', {}, HostCheckSchema, 'check the key');
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

function refused(error: unknown): Outcome {
  if (!(error instanceof StorageError)) throw error;
  return fail(
    error.message,
    error.code === 'unauthenticated'
      ? 'The operator makes another one: codebegen-storage hosts rotate, or hosts add'
      : 'Try again; where it is not deployed: npx supabase functions deploy generations hosts (docs/setup.md)',
  );
}
