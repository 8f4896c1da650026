import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { styleText } from 'node:util';
import { useProxy } from '../cloud/proxy.ts';
import { type Config, readConfig } from '../config.ts';
import { type ErrorCode, StorageError, toProblem } from '../contract.ts';
import { toWire } from '../events/wire.ts';
import {
  CONFIG_VARIABLE,
  checkPlaces,
  ENV_FILES,
  type EnvFile,
  findEnvFile,
} from '../settings/env-file.ts';
import type { StorageOptions } from '../storage/options.ts';
import type { Storage } from '../storage/storage.ts';

/** What is done where nothing can be written. */
const READ_ANYWAY = 'Nothing is written to the store; what is there is read';
/** So many problems are remembered, so that none is said twice. */
const MAX_TOLD = 1000;
/** What helps, whatever failed. */
const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  disk_full:
    'Make room: codebegen-storage cleanup --trees; with a cloud, cleanup --store --older-than 1d (0h takes all); or delete what nobody needs',
};

/** What the commands share: the streams, and the storage that the environment describes. */
export class CommandContext {
  /** Set by `--json`: data is one object on stdout, a failure the problem object. */
  json = false;
  /** The file of settings that `--config` names. */
  configFile: string | undefined;
  /** Whether it is said which settings are used. */
  isVerbose = false;
  #envFile: EnvFile | null | undefined;
  /** What went wrong in the background, as it was said. */
  readonly #told = new Set<string>();
  /** What the command ends with, where it says so itself. */
  exitCode = 0;

  /** Data, for people or for pipes. */
  print(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  /** One JSON object, in the form of the wire. */
  printJson(value: unknown): void {
    this.print(JSON.stringify(toWire(value)));
  }

  /** Talk: never part of the data. */
  say(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Shows data: as JSON where it was asked for, else as the given lines. */
  show(value: unknown, lines: () => string[]): void {
    if (this.json) this.printJson(value);
    else for (const line of lines()) this.print(line);
  }

  /** Colour on a terminal alone, and not with NO_COLOR. */
  paint(colour: 'green' | 'yellow' | 'red', text: string): string {
    return styleText(colour, text, { stream: process.stdout });
  }

  /** Tells of what went wrong in the background. */
  readonly onProblem = (error: unknown): void => {
    const told = error instanceof Error ? error.message : String(error);
    // Where the disk is full each generation has the same.
    if (this.#told.has(told)) return;
    if (this.#told.size < MAX_TOLD) this.#told.add(told);
    this.say(told);
    const remedy = error instanceof StorageError ? REMEDIES[error.code] : undefined;
    if (remedy !== undefined) this.say(remedy);
  };

  fail(error: unknown): void {
    const problem = toProblem(error);
    if (this.json) this.print(JSON.stringify(problem));
    else this.say(problem.detail);
    const remedy = REMEDIES[problem.code];
    if (remedy !== undefined) this.say(remedy);
    if (!(error instanceof StorageError) && process.env.LOG_LEVEL === 'debug') console.error(error);
  }

  /** What the environment says, and a file `.env` in the folder where the command runs. */
  readConfig(): Config {
    const config = readConfig(this.readEnvironment());
    if (config.proxy !== null) useProxy(config.proxy);
    const { secretFiles = [] } = config;
    const own = ENV_FILES.map((file) => resolve(file));
    const read = this.#envFile == null ? [] : [this.#envFile.path];
    return { ...config, secretFiles: [...new Set([...secretFiles, ...read, ...own])] };
  }

  /** What is set in the environment goes before what the file says. */
  readEnvironment(): Record<string, string | undefined> {
    if (this.#envFile === undefined) {
      this.#envFile = findEnvFile(this.configFile ?? process.env[CONFIG_VARIABLE]);
      if (this.#envFile !== null) checkPlaces(this.#envFile, process.env);
      if (this.isVerbose) this.say(`Settings: ${this.#envFile?.path ?? 'the environment alone'}`);
    }
    return { ...this.#envFile?.settings, ...process.env };
  }

  /** What root writes the agent of another user cannot touch. */
  #warnOfRoot({ storePath }: Config): void {
    const uid = statSync(storePath, { throwIfNoEntry: false })?.uid ?? 0;
    if (process.getuid?.() !== 0 || uid === 0) return;
    this.say(
      `This runs as root, and "${storePath}" is of user ${uid}: what it writes that user cannot change. Run it as that user: sudo -u '#${uid}' …`,
    );
  }

  /**
   * Opens the storage, does the work, and closes it again.
   *
   * @param options.changes whether something may be owed to the cloud then: it gets a while to go
   * @param options.makes whether a store is made where there is none
   * @param options.fromCloud whether it may be had from the cloud alone, without a store
   * @param options.anyway whether it works where nothing can be written, too: it reads, or makes room
   * @param options.prepare what has to be possible, else it counts as a place where nothing can be written
   */
  async withStorage<T>(
    work: (storage: Storage, config: Config, unwritable: StorageError | null) => Promise<T>,
    options: {
      changes?: boolean;
      anyway?: boolean;
      makes?: boolean;
      fromCloud?: boolean;
      prepare?: (storage: Storage) => void;
    } & Pick<StorageOptions, 'onProblem' | 'onEvent'> = {},
  ): Promise<T> {
    const config = this.readConfig();
    const { changes, anyway, makes, fromCloud, prepare, ...listeners } = options;
    // What the cloud has is got without a store: then one is made for as long as that takes.
    const isWithout = fromCloud === true && config.cloud !== null && !isThere(config.storePath);
    if (makes !== true && !isWithout) checkStore(config.storePath);
    if (changes === true) this.#warnOfRoot(config);
    const storePath = isWithout
      ? await mkdtemp(join(tmpdir(), 'codebegen-storage-'))
      : config.storePath;
    try {
      const given: StorageOptions = {
        ...config,
        storePath,
        background: changes === true,
        onProblem: this.onProblem,
        ...listeners,
      };
      // Half of a start, which help, and what is refused before, have no use for.
      const { openAnyway, openStorage } = await import('../storage/open.ts');
      const { storage, instead } =
        anyway === true
          ? await openAnyway(given, prepare)
          : { storage: await openStorage(given), instead: null };
      if (instead !== null) this.say(`${instead.reason.message}. ${READ_ANYWAY}`);
      try {
        return await work(storage, config, instead?.reason ?? null);
      } finally {
        await storage.close(changes === true ? {} : { drainMs: 0 });
        await instead?.remove();
      }
    } finally {
      if (isWithout) await rm(storePath, { recursive: true, force: true });
    }
  }
}

/**
 * Who has nothing to put there makes no store, least of all where the command runs in the wrong folder.
 *
 * @throws StorageError `not_found` where there is none; what cannot be looked into is told by whoever opens it
 */
export function checkStore(storePath: string): void {
  if (isThere(storePath)) return;
  throw new StorageError(
    'not_found',
    `There is no store at "${storePath}". Set FILE_STORAGE_PATH, or run this in the folder where the .env is`,
  );
}

function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

/** `12.3 MB`: for people, in powers of a thousand. */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) return '-';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Rows in columns as wide as their longest cell. */
export function formatTable(header: string[], rows: string[][]): string[] {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Says how the page after this one is had, where there is one. */
export function sayMore(context: CommandContext, cursor: string | number | null): void {
  if (cursor !== null && !context.json) context.say(`There are more: --cursor ${cursor}`);
}
