import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readConfig } from '../../node-agent/config.ts';
import { runCli } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

test('an empty environment keeps everything on this host', () => {
  expect(readConfig({})).toEqual({
    proxy: null,
    storePath: join(process.cwd(), 'storage/projects'),
    cloud: null,
    cleanupEveryMs: null,
    daemon: {
      host: '127.0.0.1',
      port: 8787,
      publicUrl: null,
      token: null,
      adminToken: null,
      logLevel: 'info',
    },
    uploadConcurrency: 4,
    scrubDays: 30,
    cdnUrl: null,
    cache: {
      path: join(process.cwd(), 'storage/cache'),
      ttlMs: 24 * 3_600_000,
      maxAgeMs: 48 * 3_600_000,
      maxBytes: 10 * 1024 ** 3,
    },
  });
});

test('the cloud is where the environment says', () => {
  const env = {
    USE_CLOUD_STORAGE: 'True',
    SUPABASE_URL: 'https://abc.supabase.co/',
    SUPABASE_SECRET_KEY: 'sb_secret_x',
    SUPABASE_BUCKET: 'other',
  };
  expect(readConfig(env).cloud).toEqual({
    url: 'https://abc.supabase.co',
    key: 'sb_secret_x',
    keyFile: null,
    bucket: 'other',
  });
});

test('a secret may be in a file', async () => {
  const file = join(await tempFolder(), 'key');
  await writeFile(file, 'from-the-file\n');
  const env = {
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: 'http://127.0.0.1:1',
    SUPABASE_SERVICE_KEY_FILE: file,
  };
  expect(readConfig(env).cloud?.key).toBe('from-the-file');
});

test('settings of the cloud do not count while it is off', () => {
  expect(readConfig({ SUPABASE_URL: 'http://x', SUPABASE_SERVICE_KEY: 'k' }).cloud).toBeNull();
});

test('all problems are told at once, by name, and no secret with them', () => {
  const env = {
    USE_CLOUD_STORAGE: 'maybe',
    SUPABASE_URL: 'ftp://x',
    SUPABASE_SERVICE_KEY: 'very-secret-value',
    SUPABASE_BUCKET: 'a/b',
    UPLOAD_CONCURRENCY: '0',
    CACHE_TTL_HOURS: '-1',
    MAX_CACHE_AGE_HOURS: 'long',
    SCRUB_DAYS: '1.5',
    CDN_URL: 'cdn.example.com',
    CACHE_MAX_BYTES: '1e9',
  };
  const read = () => readConfig(env);
  for (const name of Object.keys(env).filter((key) => key !== 'SUPABASE_SERVICE_KEY')) {
    expect(read).toThrow(name);
  }
  expect(read).not.toThrow('very-secret-value');
  const both = { AGENT_TOKEN: 'x'.repeat(16), AGENT_ADMIN_TOKEN: 'x'.repeat(16) };
  expect(() => readConfig(both)).toThrow('AGENT_ADMIN_TOKEN is AGENT_TOKEN');
  expect(() => readConfig({ AGENT_ADMIN_TOKEN: 'short' })).toThrow('AGENT_ADMIN_TOKEN must have');
  expect(() => readConfig({ USE_CLOUD_STORAGE: 'true' })).toThrow(
    /SUPABASE_URL .*SUPABASE_SERVICE_KEY/,
  );
});

const payload = (role: string) => Buffer.from(JSON.stringify({ role })).toString('base64url');
const ON = { USE_CLOUD_STORAGE: 'true', SUPABASE_URL: 'https://x.supabase.co' };

test.each<[string, Record<string, string>, string]>([
  ['quotes around a value', { FILE_STORAGE_PATH: '"/srv/store"' }, 'FILE_STORAGE_PATH has quotes'],
  ['other quotes', { LOG_LEVEL: "'info'" }, 'LOG_LEVEL has quotes'],
  ['a home folder', { CACHE_PATH: '~/cache' }, 'CACHE_PATH begins with "~"'],
  ['a home folder of a file', { AGENT_TOKEN_FILE: '~/t' }, 'AGENT_TOKEN_FILE begins with "~"'],
  ['the API in the URL', { SUPABASE_URL: 'https://x.supabase.co/rest/v1' }, 'take "/rest/v1" off'],
  [
    'another API, with a slash',
    { SUPABASE_URL: 'https://x.supabase.co/storage/v1/' },
    'take "/storage/v1" off',
  ],
  [
    'a password in the URL',
    { SUPABASE_URL: 'https://me:hidden@x.supabase.co' },
    'user or a password',
  ],
  ['a publishable key', { SUPABASE_SECRET_KEY: 'sb_publishable_x' }, 'a key of "publishable"'],
  [
    'a key for the web',
    { SUPABASE_SERVICE_KEY: `e30.${payload('anon')}.hidden` },
    'is a key of "anon"',
  ],
  ['a letter too few', { FILE_STORAGE_PAT: '/x' }, 'FILE_STORAGE_PATH is'],
  ['two letters swapped', { FILE_STORAGE_PAHT: '/x' }, 'FILE_STORAGE_PATH is'],
  ['another case', { use_cloud_storage: 'true' }, 'USE_CLOUD_STORAGE is'],
  [
    'the name that Supabase has for it',
    { SUPABASE_SERVICE_ROLE_KEY: 'hidden' },
    'SUPABASE_SERVICE_KEY is',
  ],
])('%s is named, and no value with it', (_, env, problem) => {
  const read = () => readConfig(env);
  expect(read).toThrow(problem);
  expect(read).not.toThrow('hidden');
});

test('what others call their own variables is theirs', () => {
  const env = {
    ...{ LOG_LEVELS: 'x', AGENT_PORTS: '1', CACHE_DIR: '/x', SUPABASE_ANON_KEY: 'x' },
    // Ours is set: the other may be anybody's.
    ...{ FILE_STORAGE_PATH: '/srv/store', FILE_STORAGE_PATHS: '/x' },
  };
  expect(readConfig({ ...env, AGENT_PORT: '1' }).storePath).toBe('/srv/store');
  const key = `e30.${payload('service_role')}.x`;
  expect(readConfig({ ...ON, SUPABASE_SERVICE_KEY: key }).cloud?.key).toBe(key);
});

test.each(['localhost', 'LOCALHOST', '::1', '[::1]', '127.0.0.2'])(
  '%s is reached from here alone',
  (host) => {
    const { daemon } = readConfig({ AGENT_HOST: host });
    expect(daemon.host).toBe(host.replace(/[[\]]/g, '').toLowerCase());
  },
);

test('the file of settings is the one that was named, else the one in the folder', async () => {
  const folder = await tempFolder();
  const [named, other] = [join(folder, 'named.env'), join(folder, 'other.env')];
  await writeFile(named, `FILE_STORAGE_PATH=${folder}/named\n`);
  await writeFile(other, `FILE_STORAGE_PATH=${folder}/other\n`);
  await writeFile(join(folder, '.env'), `FILE_STORAGE_PATH=${folder}/own\n`);
  const unset = { FILE_STORAGE_PATH: undefined, CODEBEGEN_STORAGE_CONFIG: undefined };
  const storeOf = async (args: string[], env: Record<string, string | undefined> = {}) =>
    (await runCli([...args, 'list'], { ...unset, ...env }, folder)).stderr;
  expect(await storeOf([])).toContain(`"${folder}/own"`);
  const byVariable = { CODEBEGEN_STORAGE_CONFIG: other };
  expect(await storeOf([], byVariable)).toContain(`"${folder}/other"`);
  expect(await storeOf(['--config', named], byVariable)).toContain(`"${folder}/named"`);
  const said = await storeOf(['--config', named, '-v'], { FILE_STORAGE_PATH: `${folder}/set` });
  expect(said).toContain(`Settings: ${named}\n`);
  // What is set goes before what a file says.
  expect(said).toContain(`"${folder}/set"`);
  const missing = await runCli(['list', '--config', 'nope.env'], unset, folder);
  expect([missing.code, missing.stderr]).toEqual([
    1,
    `Cannot use the settings in "${join(folder, 'nope.env')}": it is not there\n`,
  ]);
});

test('a file of settings elsewhere names places whole: else each folder would have a store of its own', async () => {
  const folder = await tempFolder();
  const file = join(folder, 'settings.env');
  const unset = { FILE_STORAGE_PATH: undefined, CACHE_PATH: undefined };
  const listed = async (
    text: string,
    cwd: string,
    env: Record<string, string | undefined> = unset,
  ) => {
    await writeFile(file, text);
    return runCli(['list', '--config', file], env, cwd);
  };
  const elsewhere = await tempFolder();
  const refused = await listed(
    'FILE_STORAGE_PATH=./store\nSUPABASE_SERVICE_KEY_FILE=key',
    elsewhere,
  );
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(
    /CACHE_PATH is missing, FILE_STORAGE_PATH is relative, SUPABASE_SERVICE_KEY_FILE is relative/,
  );
  // In that very folder it is one place, and so it is where the environment says which.
  expect((await listed('FILE_STORAGE_PATH=./store', folder)).code).toBe(4);
  const set = { FILE_STORAGE_PATH: './store', CACHE_PATH: './cache' };
  expect((await listed('AGENT_PORT=1', elsewhere, set)).code).toBe(4);
});
