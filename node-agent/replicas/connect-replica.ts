import { readFile } from 'node:fs/promises';
import { connect, DEFAULT_TIMEOUTS, type Timeouts } from '../cloud/connection.ts';
import { Key } from '../cloud/key.ts';
import { Transfers } from '../cloud/transfers.ts';
import { StorageError } from '../contract.ts';
import type { Replica } from './replica.ts';
import type { ReplicaObjects } from './replica-objects.ts';
import { SupabaseObjects } from './supabase-objects.ts';

/** How it is reached. */
export type Reach = Readonly<{
  timeouts?: Timeouts | undefined;
  /** What sends requests; `null`: fetch. */
  send?: typeof fetch | null;
}>;

/**
 * What lies in a replica, by the key in its file.
 *
 * @param signal ends every request when the agent stops
 * @throws StorageError `invalid_input` where its file holds no key
 */
export async function connectReplica(
  replica: Replica,
  signal: AbortSignal,
  { timeouts = DEFAULT_TIMEOUTS, send = null }: Reach = {},
): Promise<ReplicaObjects> {
  const { keyFile, name } = replica;
  const value = await readKey(replica);
  if (replica.kind === 'supabase') {
    const settings = { url: replica.url, key: value, keyFile, bucket: replica.bucket };
    return new SupabaseObjects(await connect(settings, signal, timeouts, send), name);
  }
  // Half of a command's start, which one without a replica has no use for.
  const { S3Objects } = await import('./s3/s3-objects.ts');
  const transfers = new Transfers(signal, send);
  const key = new Key(value, keyFile);
  return new S3Objects({ replica, key, signal, timeouts, transfers, send: send ?? fetch });
}

async function readKey({ name, keyFile }: Replica): Promise<string> {
  let text: string;
  try {
    text = (await readFile(keyFile, 'utf8')).trim();
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw refused(name, `the file of its key, "${keyFile}", cannot be read (${code})`);
  }
  if (/^[\x21-\x7e]{1,8192}$/.test(text)) return text;
  throw refused(name, `"${keyFile}" must hold its key alone, in one line`);
}

const refused = (name: string, why: string) =>
  new StorageError('invalid_input', `Cannot use replica "${name}": ${why}`);
