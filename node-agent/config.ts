/** What the variables of the environment say: each is read, checked and explained here. */
import { resolve } from 'node:path';
import type { CacheOptions } from './cache/cache.ts';
import type { CloudSettings } from './cloud/connection.ts';
import type { ProxySettings } from './cloud/proxy.ts';
import { DEFAULT_BUCKET, StorageError } from './contract.ts';
import { fromFileSystem } from './disk/file-errors.ts';
import { findKeyProblems } from './settings/keys.ts';
import { readProxy } from './settings/proxy.ts';
import { readSettings } from './settings/read-settings.ts';
import { findProblems } from './settings/variables.ts';

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
  /** How often the cache is cleaned up by itself, in milliseconds; `null`: never. */
  cleanupEveryMs: number | null;
  /** In how many days everything is read once, to find what is damaged; 0: never. */
  scrubDays: number;
  /** What stands before the path of signed URLs of the cloud: a cache; `null`: the project's own. */
  cdnUrl: string | null;
  /** Files that a secret was read from, where there are any. Absolute. */
  secretFiles?: readonly string[];
  /** For `codebegen-storage start` alone. */
  daemon: DaemonConfig;
  /** The way to the cloud, for processes of ours: a host program decides for itself. */
  proxy: ProxySettings | null;
}>;

/** Where the daemon listens. */
export type DaemonConfig = Readonly<{
  host: string;
  /** 0: any that is free. */
  port: number;
  /** What stands before the paths in its URLs; `null`: the address it listens on. */
  publicUrl: string | null;
  /** What requests must carry; `null`: nothing, which only a loopback address allows. */
  token: string | null;
  /** What whoever looks after hosts carries, in its place; `null`: nobody does over HTTP. */
  adminToken: string | null;
  logLevel: LogLevel;
}>;

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const TRUE = new Set(['true', '1', 'yes', 'on']);
const FALSE = new Set(['false', '0', 'no', 'off']);
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const DEFAULT_CONCURRENCY = 4;
const MIN_TOKEN = 16;
const HOUR_MS = 3_600_000;
const DEFAULT_CACHE = { ttlHours: 24, maxAgeHours: 48, cleanupHours: 6, maxBytes: 10 * 1024 ** 3 };
/** In so many days everything is read once. */
export const DEFAULT_SCRUB_DAYS = 30;
const MAX_SCRUB_DAYS = 3650;
const DEFAULT_DAEMON = { host: '127.0.0.1', port: 8787 };
/** A timer of Node waits no longer: about 24 days. */
const MAX_HOURS = 596;

/**
 * Reads the configuration from environment variables. A secret may also be in a file that
 * `NAME_FILE` names.
 *
 * @throws StorageError `invalid_input` that names every problem, and no secret's value
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const problems = findProblems(env);
  const check = <T>(name: string, fallback: T, parse: (text: string) => T | null, rule: string) => {
    const text = env[name]?.trim();
    if (!text) return fallback;
    const value = parse(text);
    if (value === null) problems.push(`${name} ${rule}`);
    return value ?? fallback;
  };

  const enabled = check('USE_CLOUD_STORAGE', false, parseBoolean, 'must be true or false');
  const url = check('SUPABASE_URL', '', parseUrl, 'must be an http or https URL');
  problems.push(...findUrlProblems(url));
  const serviceKey = readSecret(env, 'SUPABASE_SERVICE_KEY', problems);
  const secretKey =
    serviceKey.value === '' ? readSecret(env, 'SUPABASE_SECRET_KEY', problems) : serviceKey;
  const hostKey = readSecret(env, 'HOST_KEY', problems);
  const { value: key, file: keyFile } = hostKey.value === '' ? secretKey : hostKey;
  problems.push(...findKeyProblems(secretKey.value, hostKey.value));
  const token = readToken(env, 'AGENT_TOKEN', problems);
  const adminToken = readToken(env, 'AGENT_ADMIN_TOKEN', problems);
  if (token.value !== '' && token.value === adminToken.value) {
    problems.push('AGENT_ADMIN_TOKEN is AGENT_TOKEN: give it another, which no generator has');
  }
  const bucket = check(
    'SUPABASE_BUCKET',
    DEFAULT_BUCKET,
    (text) => (BUCKET.test(text) ? text : null),
    'must be letters, digits, ".", "_" or "-"',
  );
  const proxy = enabled ? readProxy(env, problems) : null;
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
  const scrubDays = check(
    'SCRUB_DAYS',
    DEFAULT_SCRUB_DAYS,
    (text) => parseWhole(text, 0, MAX_SCRUB_DAYS),
    `must be a whole number of days from 0 to ${MAX_SCRUB_DAYS}`,
  );
  const cdnUrl = check('CDN_URL', null, parseUrl, 'must be an http or https URL');
  const autoCleanup = check('AUTO_CLEANUP_ENABLED', false, parseBoolean, 'must be true or false');
  const cleanupMs = Math.min(
    hours('CLEANUP_INTERVAL_HOURS', DEFAULT_CACHE.cleanupHours),
    MAX_HOURS * HOUR_MS,
  );
  const daemon: DaemonConfig = {
    host: hostOf(env.AGENT_HOST?.trim() || DEFAULT_DAEMON.host),
    port: check(
      'AGENT_PORT',
      DEFAULT_DAEMON.port,
      (text) => parseWhole(text, 0, 65_535),
      'must be a port: a whole number from 0 to 65535',
    ),
    publicUrl: check('AGENT_PUBLIC_URL', null, parseUrl, 'must be an http or https URL'),
    token: token.value || null,
    adminToken: adminToken.value || null,
    logLevel: check(
      'LOG_LEVEL',
      'info',
      (text) => LOG_LEVELS.find((level) => level === text.toLowerCase()) ?? null,
      `must be one of ${LOG_LEVELS.join(', ')}`,
    ),
  };
  if (daemon.token === null && !isLoopback(daemon.host)) {
    problems.push('AGENT_TOKEN is needed while AGENT_HOST is not a loopback address');
  }
  // Whatever passes requests on from there makes them look like this host's own.
  if (daemon.token === null && daemon.publicUrl !== null) {
    problems.push('AGENT_TOKEN is needed while AGENT_PUBLIC_URL is set');
  }
  if (enabled && url === '' && !env.SUPABASE_URL?.trim()) {
    problems.push('SUPABASE_URL is needed while USE_CLOUD_STORAGE is true');
  }
  if (enabled && key === '') {
    problems.push(
      'HOST_KEY, SUPABASE_SERVICE_KEY or SUPABASE_SECRET_KEY is needed while USE_CLOUD_STORAGE is true',
    );
  }
  if (problems.length > 0) {
    throw new StorageError('invalid_input', `Cannot use the configuration: ${problems.join('; ')}`);
  }
  const secretFiles = [
    ...new Set([serviceKey.file, secretKey.file, hostKey.file, token.file, adminToken.file]),
  ].filter((file) => file !== null);
  return {
    storePath,
    cloud: enabled ? { url, key, keyFile, bucket } : null,
    uploadConcurrency,
    cache,
    cleanupEveryMs: autoCleanup ? cleanupMs : null,
    scrubDays,
    cdnUrl,
    ...(secretFiles.length === 0 ? {} : { secretFiles }),
    daemon,
    proxy,
  };
}

/** What requests are to carry. */
function readToken(
  env: Record<string, string | undefined>,
  name: string,
  problems: string[],
): Secret {
  // An empty one would open the door that it was to close.
  for (const variable of [name, `${name}_FILE`]) {
    if (env[variable]?.trim() === '')
      problems.push(`${variable} is set and empty: give it a value, or take it out`);
  }
  const token = readSecret(env, name, problems);
  if (!/^[\x21-\x7e]*$/.test(token.value)) {
    problems.push(`${name} holds characters that no header can`);
  }
  if (token.value !== '' && token.value.length < MIN_TOKEN) {
    problems.push(`${name} must have at least ${MIN_TOKEN} characters`);
  }
  return token;
}

/** A secret, and the file that it was read from: one given directly is in none. */
type Secret = Readonly<{ value: string; file: string | null }>;

function readSecret(
  env: Record<string, string | undefined>,
  name: string,
  problems: string[],
): Secret {
  const direct = env[name]?.trim();
  if (direct) return { value: direct, file: null };
  const named = env[`${name}_FILE`]?.trim();
  if (!named) return { value: '', file: null };
  const file = resolve(named);
  try {
    const text = readSettings(file)?.trim();
    if (text === undefined)
      problems.push(`${name}_FILE names a file that is not in UTF-8: "${named}"`);
    if (text === '') problems.push(`${name}_FILE names a file that is empty: "${named}"`);
    return { value: text ?? '', file };
  } catch (error) {
    const known = fromFileSystem(error, `read "${named}"`);
    const reason =
      known instanceof StorageError
        ? known.message.replace(/^Cannot [^:]*: /, '')
        : ((error as NodeJS.ErrnoException).code ?? 'it is no file');
    problems.push(`${name}_FILE names a file that cannot be read: "${named}": ${reason}`);
    return { value: '', file };
  }
}

/** As a socket takes it: an address of version 6 has brackets in URLs alone. */
function hostOf(text: string): string {
  return text.replace(/^\[(.*)\]$/, '$1').toLowerCase();
}

/** Whether an address is reached from this host alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** What of the project's URL belongs elsewhere. */
function findUrlProblems(text: string): string[] {
  if (text === '') return [];
  const { username, password, pathname } = new URL(text);
  const api = /\/(rest|storage|auth|functions)\/v1$/.exec(pathname)?.[0];
  return [
    ...(username + password === ''
      ? []
      : ['SUPABASE_URL holds a user or a password: take them out']),
    ...(api === undefined ? [] : [`SUPABASE_URL is that of the project: take "${api}" off`]),
  ];
}

function parseBoolean(text: string): boolean | null {
  const lower = text.toLowerCase();
  return TRUE.has(lower) ? true : FALSE.has(lower) ? false : null;
}

function parseUrl(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isWeb = url !== null && /^https?:$/.test(url.protocol) && url.search + url.hash === '';
  return isWeb ? text.replace(/\/+$/, '') : null;
}

function parseHours(text: string): number | null {
  const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  return number > 0 ? number : null;
}

function parseWhole(text: string, min: number, max: number): number | null {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return number >= min && number <= max ? number : null;
}
