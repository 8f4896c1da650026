/** Keys for hosts: given out once, kept as their hash, rotated, revoked. */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { expect, inject, test } from 'vitest';
import { isHostKey } from '../../node-agent/contract.ts';
import { makeUser, serviceClient, uniqueId, userClient } from '../support/cloud.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const RIGHTS = { read: 'own', delete: 'none', projects: [], expiresAt: null } as const;
const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');

/** The hashes of what opens something for a host. */
async function keysOf(name: string): Promise<string[]> {
  const { data, error } = await serviceClient()
    .from('storage_host_keys')
    .select('sha256, storage_hosts!inner(name)')
    .eq('storage_hosts.name', name);
  expect(error).toBeNull();
  return data!.map(({ sha256 }) => sha256);
}

test('a key is given out once, and the database has its hash', async () => {
  const { hosts } = await openTestStorage({ cloud: testCloud('hosts') });
  const name = uniqueId('host');
  const key = await hosts.add(name, RIGHTS);
  expect(isHostKey(key)).toBe(true);
  expect(await keysOf(name)).toEqual([hashOf(key)]);
  expect(JSON.stringify(await hosts.list())).not.toContain(key);
  const other = await hosts.add(uniqueId('host'), RIGHTS);
  expect(other).not.toBe(key);
  await expect(hosts.add(name.toUpperCase(), RIGHTS)).rejects.toMatchObject({ code: 'conflict' });
  expect(await keysOf(name)).toEqual([hashOf(key)]);
});

test('rotated at once by several it has two keys at most, and one of them is the last', async () => {
  const { hosts } = await openTestStorage({ cloud: testCloud('hosts') });
  const name = uniqueId('host');
  await hosts.add(name, RIGHTS);
  const rotated = await Promise.all([1, 2, 3, 4].map(() => hosts.rotate(name, 3600, null)));
  const left = await keysOf(name);
  expect(left).toHaveLength(2);
  for (const sha256 of left) expect(rotated.map(({ key }) => hashOf(key))).toContain(sha256);
  const { keys } = (await hosts.list()).find((host) => host.name === name)!;
  expect(keys.map(({ expires_at }) => expires_at === null)).toEqual([true, false]);
});

test('one that is not there is named, whatever is done with it', async () => {
  const { hosts } = await openTestStorage({ cloud: testCloud('hosts') });
  const works = [
    () => hosts.rotate('nobody', 1, null),
    () => hosts.assign('nobody', ['a']),
    () => hosts.revoke('nobody'),
  ];
  for (const work of works) {
    await expect(work()).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringMatching(/^Cannot .*"nobody": there is none of this name$/),
    });
  }
});

test('the commands, from the first key to the end, where no store is', async () => {
  const folder = await tempFolder();
  const { SUPABASE_URL, SUPABASE_SERVICE_KEY } = inject('stack');
  const cli = (...args: string[]) =>
    runCli(['hosts', ...args], {
      ...{ USE_CLOUD_STORAGE: 'true', SUPABASE_URL, SUPABASE_SERVICE_KEY },
      FILE_STORAGE_PATH: `${folder}/store`,
    });
  const name = uniqueId('host');
  const added = await cli('add', name, '--delete', 'own', '--projects', 'a,b', '--expires', '90d');
  expect([added.code, isHostKey(added.stdout.trim())]).toEqual([0, true]);
  expect(added.stderr).toBe('This is its key, and not shown again.\n');
  const line = async () => (await cli()).stdout.split('\n').find((one) => one.startsWith(name));
  expect(await line()).toMatch(/own +own +2 +- +ends 2\S+$/);
  expect((await cli('assign', name, '--projects', 'b,c')).stdout).toBe(`${name}: 1 assigned\n`);
  const rotated = await cli('rotate', name, '--overlap', '0h', '--json');
  const { key, earlier_ends_at } = JSON.parse(rotated.stdout);
  expect(Date.parse(earlier_ends_at)).toBeLessThanOrEqual(Date.now() + 60_000);
  expect(await line()).toMatch(/own +own +3 +- +does not end, an earlier one ends 2\S+$/);
  expect((await cli('revoke', name)).stdout).toBe(`${name}: revoked\n`);
  expect(await cli('revoke', name)).toMatchObject({ code: 0, stdout: `${name}: was revoked\n` });
  expect(await line()).toMatch(/revoked 2\S+$/);
  const { stdout } = await cli('list', '--json');
  for (const secret of [added.stdout.trim(), key, hashOf(key)])
    expect(stdout).not.toContain(secret);
  expect(await keysOf(name)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

test('no user reads or changes them', async () => {
  const user = userClient(await makeUser());
  for (const table of ['storage_hosts', 'storage_host_keys', 'storage_host_projects']) {
    expect((await user.from(table).select()).error).toMatchObject({ code: '42501' });
  }
  const name = uniqueId('host');
  const calls: [string, object][] = [
    ['storage_add_host', { p_name: name, p_sha256: hashOf(name) }],
    ['storage_rotate_host_key', { p_name: name, p_sha256: hashOf(name), p_overlap_seconds: 1 }],
    ['storage_assign_projects', { p_name: name, p_projects: [] }],
    ['storage_revoke_host', { p_name: name }],
    ['storage_list_hosts', { p_limit: 1 }],
    ['storage_lock_host', { p_name: name }],
  ];
  for (const [call, args] of calls) {
    expect((await user.rpc(call, args)).error, call).toMatchObject({ code: '42501' });
  }
});
