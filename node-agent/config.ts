/** The one place that reads the environment. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { CacheOptions } from './cache/cache.ts';
import type { CloudSettings } from './cloud/connection.ts';
import { DEFAULT_BUCKET, StorageError } from './contract.ts';

/** What `openStorage` needs to know. */
export type Config = Readonly<{
  /** Where generations are kept. Absolute. */
  storePath: string;
  /** Where the cloud is; `null` while it is off. */
  cloud: CloudSettings | null;
  /** Uploads at once. */
  uploadConcurrency: number;
  /** Copies from the cloud. */
  cache: CacheOptions;
}>;

const TRUE = new Set(['true', '1', 'yes', 'on']);
const FALSE = new Set(['false', '0', 'no', 'off']);
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const DEFAULT_CONCURRENCY = 4;
const HOUR_MS = 3_600_000;
const DEFAULT_CACHE = { ttlHours: 24, maxAgeHours: 48, maxBytes: 10 * 1024 ** 3 };

/**
 * Reads the configuration from environment variables. A secret may also be in a file that
 * `NAME_FILE` names.
 *
 * @throws StorageError `invalid_input` that names every problem, and no secret's value
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const problems: string[] = [];
  const check = <T>(name: string, fallback: T, parse: (text: string) => T | null, rule: string) => {
    const text = env[name]?.trim();
    if (!text) return fallback;
    const value = parse(text);
    if (value === null) problems.push(`${name} ${rule}`);
    return value ?? fallback;
  };

  const enabled = check('USE_CLOUD_STORAGE', false, parseBoolean, 'must be true or false');
  const url = check('SUPABASE_URL', '', parseUrl, 'must be an http or https URL');
  const key =
    readSecret(env, 'SUPABASE_SERVICE_KEY', problems) ||
    readSecret(env, 'SUPABASE_SECRET_KEY', problems);
  const bucket = check(
    'SUPABASE_BUCKET',
    DEFAULT_BUCKET,
    (text) => (BUCKET.test(text) ? text : null),
    'must be letters, digits, ".", "_" or "-"',
  );
  const storePath = resolve(env.FILE_STORAGE_PATH?.trim() || './storage/projects');
  const uploadConcurrency = check(
    'UPLOAD_CONCURRENCY',
    DEFAULT_CONCURRENCY,
    (text) => parseWhole(text, 1, 64),
    'must be a whole number from 1 to 64',
  );
  const hours = (name: string, fallback: number) =>
    check(name, fallback, parseHours, 'must be a number of hours above 0') * HOUR_MS;
  const cache: CacheOptions = {
    path: resolve(env.CACHE_PATH?.trim() || './storage/cache'),
    ttlMs: hours('CACHE_TTL_HOURS', DEFAULT_CACHE.ttlHours),
    maxAgeMs: hours('MAX_CACHE_AGE_HOURS', DEFAULT_CACHE.maxAgeHours),
    maxBytes: check(
      'CACHE_MAX_BYTES',
      DEFAULT_CACHE.maxBytes,
      (text) => parseWhole(text, 0, Number.MAX_SAFE_INTEGER),
      'must be a whole number of bytes',
    ),
  };
  if (enabled && url === '' && !env.SUPABASE_URL?.trim()) {
    problems.push('SUPABASE_URL is needed while USE_CLOUD_STORAGE is true');
  }
  if (/[^\x21-\x7e]/.test(key)) {
    problems.push('SUPABASE_SERVICE_KEY holds characters that no key has');
  }
  if (enabled && key === '') {
    problems.push(
      'SUPABASE_SERVICE_KEY or SUPABASE_SECRET_KEY is needed while USE_CLOUD_STORAGE is true',
    );
  }
  if (problems.length > 0) {
    throw new StorageError('invalid_input', `Cannot use the configuration: ${problems.join('; ')}`);
  }
  return { storePath, cloud: enabled ? { url, key, bucket } : null, uploadConcurrency, cache };
}

function readSecret(
  env: Record<string, string | undefined>,
  name: string,
  problems: string[],
): string {
  const direct = env[name]?.trim();
  if (direct) return direct;
  const file = env[`${name}_FILE`]?.trim();
  if (!file) return '';
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    problems.push(`${name}_FILE names a file that cannot be read: "${file}"`);
    return '';
  }
}

function parseBoolean(text: string): boolean | null {
  const lower = text.toLowerCase();
  return TRUE.has(lower) ? true : FALSE.has(lower) ? false : null;
}

function parseUrl(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url !== null && /^https?:$/.test(url.protocol) ? text.replace(/\/+$/, '') : null;
}

function parseHours(text: string): number | null {
  const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  return number > 0 ? number : null;
}

function parseWhole(text: string, min: number, max: number): number | null {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return number >= min && number <= max ? number : null;
}
