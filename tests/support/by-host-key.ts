import { hash, randomBytes } from 'node:crypto';
import { createClient } from '@supabase/supabase-js';
import { formatHostKey, HOST_KEY_BYTES } from '../../node-agent/contract.ts';
import type { Stack } from '../../supabase/embedded/stack.ts';

/** With `BY=host-key` the agents of a test have the key of a host, in the place of the secret one. */
export const isByHostKey = process.env.BY === 'host-key';

/** A key for agents of a stack of the test's own: the secret one, or that of a host which it adds. */
export async function keyFor(stack: Stack, bucket: string): Promise<string> {
  const { serviceRoleKey } = stack.keys;
  if (!isByHostKey) return serviceRoleKey;
  const key = formatHostKey(randomBytes(HOST_KEY_BYTES).toString('base64url'));
  const service = createClient(stack.url, serviceRoleKey, { auth: { persistSession: false } });
  const { error } = await service.rpc('storage_add_host', {
    ...{ p_name: 'host', p_sha256: hash('sha256', key), p_bucket: bucket },
    ...{ p_read: 'own', p_delete: 'own' },
  });
  if (error !== null) throw new Error(error.message);
  return key;
}

/** What each route of the function stands for, as a request by the secret key. */
const ROUTES: Readonly<Record<string, string>> = {
  reserve: 'POST /rest/v1/rpc/storage_reserve_generations',
  replace: 'POST /rest/v1/rpc/storage_reserve_generations',
  record: 'POST /rest/v1/rpc/storage_record_generations',
  find: 'GET /rest/v1/storage_generations?select=object_key&version=eq.1',
  changes: 'POST /rest/v1/rpc/storage_list_changes',
  delete: 'POST /rest/v1/rpc/storage_record_deletion',
  undelete: 'POST /rest/v1/rpc/storage_record_undeletion',
  check: 'POST /rest/v1/rpc/storage_check_in',
  activate: 'POST /rest/v1/rpc/storage_set_active',
};

/** A request as it would be by the secret key: a test says once what goes wrong, for both. */
export function asBySecretKey(method: string, path: string): readonly [string, string] {
  if (!isByHostKey) return [method, path];
  const route = /^\/functions\/v1\/hosts\/(\w+)/.exec(path)?.[1];
  const known = route === undefined ? undefined : ROUTES[route];
  if (known !== undefined) return known.split(' ') as [string, string];
  const [bare = ''] = path.split('?');
  const upload = '/storage/v1/object/upload/sign/';
  if (bare.startsWith(upload)) return ['POST', `/storage/v1/object/${bare.slice(upload.length)}`];
  return [
    method,
    bare
      .replace('/upload/resumable/sign', '/upload/resumable')
      .replace('/object/sign/', '/object/'),
  ];
}
