import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { StorageError } from '../contract.ts';
import { REPLICA_KINDS } from '../replicas/replica.ts';
import type { ReplicaStatus, SyncReport } from '../replicate/replicas.ts';
import type { Storage } from '../storage/storage.ts';
import { type CommandContext, formatTable } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';
import { ProgressLine } from './progress.ts';
import { listenForStop } from './signals.ts';

type AddOptions = {
  kind: string;
  url: string;
  region: string;
  bucket: string;
  keyId?: string;
  keyFile: string;
};

export function addReplicas(program: Command, context: CommandContext): void {
  const replicas = program
    .command('replicas')
    .description('keep second copies in a bucket elsewhere, or show how they are')
    .addHelpText(
      'after',
      `
Every verified archive is copied, and what is purged goes from there too. The key stays in its file: it must be able to
list, read, write and delete in a private bucket that nothing else uses.

Examples:
  $ codebegen-storage replicas add far --kind s3 --url https://s3.eu-west-1.amazonaws.com --region eu-west-1 \\
      --bucket acme-copies --key-id AKIA… --key-file /etc/codebegen-storage/far.key
  $ codebegen-storage replicas sync far
  $ codebegen-storage replicas`,
    )
    .action(() => list(context));
  for (const name of ['list', 'status']) {
    replicas
      .command(name)
      .description('show them, what lies there, and what is owed to them')
      .action(() => list(context));
  }
  replicas
    .command('add')
    .description('have every archive be copied there, those that are there already too')
    .argument('<name>', 'what it is called')
    .addOption(new Option('--kind <kind>', 'what it is').choices(REPLICA_KINDS).default('s3'))
    .requiredOption(
      '--url <url>',
      'its endpoint, without the bucket; of Supabase that of the project',
    )
    .requiredOption('--region <region>', 'as the endpoint names it; "auto" for R2')
    .requiredOption('--bucket <bucket>', 'which is there, and private')
    .option('--key-id <id>', 'the id of the access key, for S3')
    .requiredOption('--key-file <file>', 'where its secret is, in one line')
    .action((name: string, options: AddOptions) => add(context, name, options));
  replicas
    .command('sync')
    .description('copy now what a replica has not, whoever saved it, and remove what is to go')
    .argument('[name]', 'one of them; else all')
    .option('--no-progress', 'no progress on a terminal')
    .action((name: string | undefined, options: { progress: boolean }) =>
      sync(context, name ?? null, options),
    );
  replicas
    .command('remove')
    .description('have this host copy nothing there any more; what lies there stays')
    .argument('<name>', 'as "list" shows it')
    .option('--forget', 'no other host either; the database forgets what lies there')
    .action((name: string, options: { forget?: boolean }) => remove(context, name, options));
}

/** The cloud is asked; a store is needed where what is told is kept. */
function checkCloud(context: CommandContext): void {
  if (context.readConfig().cloud !== null) return;
  const state = 'the cloud is off. Set USE_CLOUD_STORAGE, SUPABASE_URL and SUPABASE_SERVICE_KEY';
  throw new StorageError('unavailable', `Cannot look after replicas: ${state}`);
}

async function add(context: CommandContext, name: string, options: AddOptions): Promise<void> {
  checkCloud(context);
  await context.withStorage(
    async (storage) => {
      const input = { ...options, name, keyFile: resolve(options.keyFile) };
      const { kind, url, region, bucket } = await storage.replicas.add(input);
      const status = await statusOf(storage, name);
      const owed = status.copies?.owed ?? 0;
      context.show({ name, kind, url, region, bucket, owed }, () => [
        `${name}: ${owed} archives are owed to it`,
      ]);
      context.say(
        `The daemon copies them in the background. To have it done now: codebegen-storage replicas sync ${name}`,
      );
    },
    { makes: true },
  );
}

async function statusOf(storage: Storage, name: string): Promise<ReplicaStatus> {
  return (await storage.replicas.list()).find((one) => one.name === name)!;
}

async function list(context: CommandContext): Promise<void> {
  checkCloud(context);
  await context.withStorage(
    async (storage) => {
      const items = await storage.replicas.list();
      context.show({ items: items.map(shown) }, () =>
        formatTable(
          ['NAME', 'KIND', 'BUCKET', 'REGION', 'COPIED', 'OWED', 'TO REMOVE', 'SINCE', 'FAILURE'],
          items.map(({ name, settings, copies }) => [
            name,
            settings?.kind ?? 'no key here',
            settings?.bucket ?? '-',
            copies?.region ?? settings?.region ?? '-',
            String(copies?.copied ?? '-'),
            String(copies?.owed ?? '-'),
            String(copies?.unneeded ?? '-'),
            copies?.owed_since ?? '-',
            failureOf(copies),
          ]),
        ),
      );
      for (const path of storage.replicas.unreadable()) {
        context.say(`"${path}" is no replica: remove it, and add it anew`);
      }
    },
    { anyway: true, fromCloud: true },
  );
}

function failureOf(copies: ReplicaStatus['copies']): string {
  if (copies === null) return 'the database knows no such replica: add it anew';
  return copies.failure === null ? '-' : `${copies.failed} failed: ${copies.failure}`;
}

/** Without the key's id, which is nobody's to read. */
function shown({ name, settings, copies }: ReplicaStatus) {
  const { kind = null, url = null, bucket = null, region = null } = settings ?? {};
  const {
    created_at: createdAt = null,
    region: at = region,
    bucket: of = null,
    ...counts
  } = copies ?? {};
  return {
    name,
    kind,
    url,
    bucket,
    region: at,
    of,
    createdAt,
    isKnown: copies !== null,
    ...counts,
  };
}

async function sync(
  context: CommandContext,
  only: string | null,
  { progress }: { progress: boolean },
): Promise<void> {
  checkCloud(context);
  const line = new ProgressLine(process.stderr, progress && !context.json);
  const stop = listenForStop();
  const reports: SyncReport[] = [];
  await context.withStorage(async (storage) => {
    const all = (await storage.replicas.list()).filter(({ settings }) => settings !== null);
    const names = only === null ? all.map(({ name }) => name) : [only];
    if (names.length === 0) throw new StorageError('not_found', 'Cannot sync: there is no replica');
    try {
      for (const name of names) {
        const onProgress = ({ done }: { done: number }) => line.show(`sync ${name}`, done, done);
        reports.push(await storage.replicas.sync(name, { signal: stop.signal, onProgress }));
        line.clear();
      }
    } finally {
      line.clear();
    }
  });
  context.show({ items: reports }, () =>
    reports.flatMap(({ name, copied, removed, files, owed, failed, failure }) => [
      `${name}: ${copied} copied, ${removed} removed, ${files} files of projects written, ${owed} owed still, ${failed} of them failed`,
      ...(failure === null ? [] : [`  ${failure}`]),
    ]),
  );
  if (reports.some(({ owed }) => owed > 0)) context.exitCode = EXIT_PARTLY;
  if (stop.signal.aborted) {
    context.say('Stopped. The same command goes on: what is copied is passed over');
    // Once what it came to is printed.
    setImmediate(() => stop.end(130));
  }
}

async function remove(
  context: CommandContext,
  name: string,
  { forget = false }: { forget?: boolean },
): Promise<void> {
  await context.withStorage(async (storage) => {
    await storage.replicas.remove(name, { forget });
    context.show({ name, removed: true, forgotten: forget }, () => [
      forget
        ? `${name} is forgotten; what lies there stays`
        : `${name}: this host copies nothing there`,
    ]);
  });
}
