import { randomUUID } from 'node:crypto';
import { lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readConfig } from '../config.ts';
import { isHostKey, StorageError } from '../contract.ts';
import { packageFile } from '../disk/package-file.ts';
import type { CommandContext } from './context.ts';

type InitOptions = {
  url?: string;
  keyFile?: string;
  hostKeyFile?: string;
  bucket?: string;
  createBucket?: boolean;
  force?: boolean;
};

const FILE = '.env';
/** It may come to hold a key. */
const OWNER_ONLY = 0o600;

export function addInit(program: Command, context: CommandContext): void {
  program
    .command('init')
    .description('write a .env with every setting into this folder, and make the bucket if wanted')
    .option('--url <url>', 'of the Supabase project; turns the cloud on')
    .option('--host-key-file <file>', 'a file that holds the key of this host')
    .option('--key-file <file>', 'a file that holds the secret key of the project')
    .option('--bucket <name>', 'where archives are kept')
    .option('--create-bucket', 'make the bucket, private, where it is missing')
    .option('--force', 'write over a .env that is there')
    .addHelpText(
      'after',
      `
The key stays in its file; the .env names that.

Examples:
  $ codebegen-storage init
  $ codebegen-storage init --url https://abc.supabase.co --host-key-file /run/secrets/host-key
  $ codebegen-storage init --url https://abc.supabase.co --key-file /run/secrets/supabase --create-bucket`,
    )
    .action(async (options: InitOptions) => {
      const settings = settingsOf(options);
      // All problems at once, before anything is written.
      const config = readConfig(settings);
      const text = fill(readFileSync(packageFile('.env.example'), 'utf8'), settings);
      checkFree(resolve(FILE), options.force === true);
      const made = options.createBucket === true ? await makeBucket(config.cloud) : null;
      write(resolve(FILE), text);
      context.show({ file: resolve(FILE), bucket: config.cloud?.bucket ?? null, made }, () => [
        `Wrote ${FILE}`,
        ...(made === null
          ? []
          : [`The bucket "${config.cloud?.bucket}" ${made ? 'is made' : 'was there'}`]),
        'Next: codebegen-storage doctor',
      ]);
    });
}

function settingsOf({ url, keyFile, hostKeyFile, bucket }: InitOptions): Record<string, string> {
  return {
    // Whole: whoever names the file from elsewhere means the same.
    FILE_STORAGE_PATH: resolve('storage/projects'),
    CACHE_PATH: resolve('storage/cache'),
    ...(url === undefined ? {} : { USE_CLOUD_STORAGE: 'true', SUPABASE_URL: url }),
    ...(hostKeyFile === undefined ? {} : { HOST_KEY_FILE: resolve(hostKeyFile) }),
    ...(keyFile === undefined ? {} : { SUPABASE_SERVICE_KEY_FILE: resolve(keyFile) }),
    ...(bucket === undefined ? {} : { SUPABASE_BUCKET: bucket }),
  };
}

/** Puts settings in the place of those of the example; one that has none there is added. */
function fill(example: string, settings: Record<string, string>): string {
  let text = example;
  for (const [name, value] of Object.entries(settings)) {
    const line = new RegExp(`^${name}=.*$`, 'm');
    // Quoted: a path may hold what a shell or a reader of such files would take for its own.
    const set = `${name}=${/^[\w./:@-]*$/.test(value) ? value : JSON.stringify(value)}`;
    text = line.test(text) ? text.replace(line, () => set) : `${text}\n${set}\n`;
  }
  return text;
}

function checkFree(path: string, isForced: boolean): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined || isForced) return;
  throw new StorageError(
    'conflict',
    `Cannot write "${path}": it is there already. --force writes over it`,
  );
}

function write(path: string, text: string): void {
  // Put in the place of what is there, also of a link: neither its mode nor where it leads is kept.
  const temporary = `${path}.${randomUUID()}`;
  try {
    writeFileSync(temporary, text, { mode: OWNER_ONLY, flag: 'wx', flush: true });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    const { code } = cause as NodeJS.ErrnoException;
    throw new StorageError('forbidden', `Cannot write "${path}": ${code}`, { cause });
  }
}

/** @returns whether it was made now */
async function makeBucket(cloud: ReturnType<typeof readConfig>['cloud']): Promise<boolean> {
  if (cloud === null) {
    throw new StorageError(
      'invalid_input',
      'Cannot make the bucket: --url and --key-file say where',
    );
  }
  if (isHostKey(cloud.key)) {
    const state = 'the key of a host may not. The first upload makes it';
    throw new StorageError('forbidden', `Cannot make the bucket: ${state}`);
  }
  const { Bucket } = await import('../cloud/bucket.ts');
  const { connect } = await import('../cloud/connection.ts');
  const stopping = new AbortController();
  return new Bucket(await connect(cloud, stopping.signal)).ensure();
}
