import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readConfig } from '../../node-agent/config.ts';
import { tempFolder } from '../support/temp.ts';

test('an empty environment keeps everything on this host', () => {
  expect(readConfig({})).toEqual({
    storePath: join(process.cwd(), 'storage/projects'),
    cloud: null,
    cleanupEveryMs: null,
    daemon: { host: '127.0.0.1', port: 8787, publicUrl: null, token: null, logLevel: 'info' },
    uploadConcurrency: 4,
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
    CACHE_MAX_BYTES: '1e9',
  };
  const read = () => readConfig(env);
  for (const name of Object.keys(env).filter((key) => key !== 'SUPABASE_SERVICE_KEY')) {
    expect(read).toThrow(name);
  }
  expect(read).not.toThrow('very-secret-value');
  expect(() => readConfig({ USE_CLOUD_STORAGE: 'true' })).toThrow(
    /SUPABASE_URL .*SUPABASE_SERVICE_KEY/,
  );
});
