/** With `BY=host-key` the agents of a test have the key of a host, in the place of the secret one. */
export const isByHostKey = process.env.BY === 'host-key';

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
