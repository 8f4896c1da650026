/** Whether the service of this host has the store that the commands have. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import type { Config } from '../config.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { ENV_FILES } from '../settings/env-file.ts';
import { messageOf, type Outcome, pass, warn } from './check.ts';

/** Where `docs/setup.md` puts the unit. */
export const UNIT = '/etc/systemd/system/codebegen-storage.service';

/** What the program reads where nothing is named. */
const DEFAULT_FILE = ENV_FILES[1];

/**
 * Compares where the unit keeps things with where this command does.
 *
 * @param unit its file
 */
export function checkService(
  unit: string,
  { storePath, cache }: Pick<Config, 'storePath' | 'cache'>,
): Outcome {
  let lines: string[];
  try {
    lines = readFileSync(unit, 'utf8').split('\n');
  } catch (error) {
    const why = messageOf(fromFileSystem(error, `read "${unit}"`));
    return warn(why, 'Run doctor as root to have it compared');
  }
  const all = (name: string) =>
    lines.flatMap((line) =>
      line.startsWith(`${name}=`) ? [line.slice(name.length + 1).trim()] : [],
    );
  const folder = all('WorkingDirectory').at(-1) ?? '/';
  const inUnit = Object.assign({}, ...all('Environment').map(parseAssignments));
  const inFiles = Object.assign({}, ...all('EnvironmentFile').map(readIfThere));
  const own = join(folder, ENV_FILES[0]);
  // What systemd sets goes before the file that the program reads: its files before its own lines.
  const read = readIfThere(existsSync(own) ? own : DEFAULT_FILE);
  const env = { ...read, ...inUnit, ...inFiles } as Record<string, string | undefined>;
  const places = [
    ['FILE_STORAGE_PATH', './storage/projects', storePath],
    ['CACHE_PATH', './storage/cache', cache.path],
  ] as const;
  const others = places
    .map(([name, fallback, here]) => ({
      name,
      there: resolve(folder, env[name] || fallback),
      here,
    }))
    .filter(({ there, here }) => there !== here);
  if (others.length === 0) return pass(`"${unit}" keeps things where this command does`);
  const [{ name, there, here }] = others as [(typeof others)[number]];
  return warn(
    `"${unit}" has "${there}" as ${name}, this command "${here}"`,
    `Put FILE_STORAGE_PATH and CACHE_PATH into ${DEFAULT_FILE}, and nowhere else`,
  );
}

/** `A=1 "B=2 3"`: as systemd has it. */
function parseAssignments(text: string): Record<string, string> {
  const found = text.matchAll(/"(\w+)=([^"]*)"|(\w+)=("[^"]*"|\S*)/g);
  return Object.fromEntries(
    [...found].map(([, quoted, inQuotes, name, value]) => [
      quoted ?? name ?? '',
      inQuotes ?? (value ?? '').replace(/^"(.*)"$/, '$1'),
    ]),
  );
}

/** A dash before it says that it may be missing. */
function readIfThere(name: string): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(name.replace(/^-/, ''), 'utf8'));
  } catch {
    return {};
  }
}
