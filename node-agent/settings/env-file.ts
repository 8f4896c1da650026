import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { StorageError } from '../contract.ts';
import { NotAFile } from '../disk/open-inside.ts';
import { readSettings } from './read-settings.ts';

/** Names a file of settings. */
export const CONFIG_VARIABLE = 'CODEBEGEN_STORAGE_CONFIG';
/** Where settings are looked for that nobody named: in the folder where a command runs, then on this host. */
export const ENV_FILES = ['.env', '/etc/codebegen-storage.env'] as const;

/** What a file says, and which it was. */
export type EnvFile = Readonly<{
  /** Absolute. */
  path: string;
  settings: Record<string, string | undefined>;
}>;

/**
 * Reads the file of settings: the one that was named, else the first that there is.
 *
 * @param named by an option, or by {@link CONFIG_VARIABLE}
 * @returns `null` where none was named and there is none
 * @throws StorageError `invalid_input` that names the file: it is not there though it was named, is no file,
 *   cannot be read, or is not in UTF-8
 */
export function findEnvFile(named?: string): EnvFile | null {
  const found = named?.trim() || ENV_FILES.find((path) => existsSync(path));
  return found === undefined ? null : readEnvFile(found);
}

/** Of `NAME=value` a line. */
function readEnvFile(name: string): EnvFile {
  const path = resolve(name);
  const refuse = (state: string, cause?: unknown) =>
    new StorageError('invalid_input', `Cannot use the settings in "${path}": ${state}`, { cause });
  let text: string | null;
  try {
    text = readSettings(path);
  } catch (cause) {
    throw refuse(stateOf(cause), cause);
  }
  if (text === null) throw refuse('it is not in UTF-8; save it as that');
  return { path, settings: parseEnv(text) };
}

/** Where they lie is asked for by every command, wherever it runs. */
const PLACES = ['FILE_STORAGE_PATH', 'CACHE_PATH'] as const;
const SECRETS = [
  'HOST_KEY_FILE',
  'SUPABASE_SERVICE_KEY_FILE',
  'SUPABASE_SECRET_KEY_FILE',
  'AGENT_TOKEN_FILE',
  'AGENT_ADMIN_TOKEN_FILE',
] as const;

/**
 * Refuses settings that mean another place in each folder where a command runs: in a file that is not in
 * that folder paths are absolute, and those of store and cache are there.
 *
 * @param env what goes before the file
 * @throws StorageError `invalid_input` that names file and variables
 */
export function checkPlaces(
  { path, settings }: EnvFile,
  env: Readonly<Record<string, string | undefined>>,
): void {
  if (dirname(path) === process.cwd()) return;
  const named = (name: string) => (env[name]?.trim() ? undefined : settings[name]?.trim());
  const problems = [
    ...PLACES.filter((name) => !env[name]?.trim() && !named(name)).map(
      (name) => `${name} is missing`,
    ),
    ...[...PLACES, ...SECRETS]
      .filter((name) => named(name) && !isAbsolute(named(name)!))
      .map((name) => `${name} is relative`),
  ];
  if (problems.length === 0) return;
  throw new StorageError(
    'invalid_input',
    `Cannot use the settings in "${path}": ${problems.join(', ')}: that would be another place in each folder where a command runs. Write the whole path`,
  );
}

function stateOf(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'it is not there';
  if (code === 'EISDIR') return 'it is a folder';
  return cause instanceof NotAFile ? `it is ${cause.problem}` : `it cannot be read (${code})`;
}
