import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { readConfig } from '../config.ts';
import { parseId, StorageError } from '../contract.ts';
import type { Progress, Report } from '../migrate/migrate.ts';
import { parseOwner } from '../save/request.ts';
import { parseIdArgument } from './arguments.ts';
import { type CommandContext, checkStore, formatTable } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';
import { ProgressLine } from './progress.ts';
import { listenForStop } from './signals.ts';

type MigrateOptions = {
  dryRun?: boolean;
  projectId?: string;
  owners?: string;
  fromBucket?: boolean;
  verify?: boolean;
  progress: boolean;
};

export function addMigrate(program: Command, context: CommandContext): void {
  program
    .command('migrate')
    .description('give what the Python system left hashes and archives, and upload it')
    .option('--dry-run', 'say what would be done, and do nothing; needs no credentials')
    .option('--project-id <id>', 'this project alone', parseIdArgument)
    .option('--owners <file>', 'whose projects are: JSON of user ids by project')
    .option('--from-bucket', 'make rows for archives that are in the bucket without one')
    .option('--verify', 'read back every archive from the cloud, and compare it')
    .option('--no-progress', 'no progress on a terminal')
    .addHelpText(
      'after',
      `
It may be repeated: what is done is passed over. Files stay where they are. What cannot be migrated
is told of and stays readable, and what was left out is told of; the exit code is 3 then.

Examples:
  $ codebegen-storage migrate --dry-run
  $ codebegen-storage migrate --owners owners.json --verify --json`,
    )
    .action(async (options: MigrateOptions) => {
      const report =
        options.dryRun === true ? await dryRun(context, options) : await run(context, options);
      context.show(report, () => describe(report, options.dryRun === true));
      if (report.problems.length > 0) context.exitCode = EXIT_PARTLY;
    });
}

async function dryRun(
  context: CommandContext,
  { projectId, fromBucket }: MigrateOptions,
): Promise<Report> {
  if (fromBucket === true) {
    throw new StorageError(
      'invalid_input',
      'Cannot look into the bucket without credentials: leave --dry-run out',
    );
  }
  const { plan } = await import('../migrate/migrate.ts');
  // Where things lie is all that it needs.
  const { storePath } = readConfig({ ...context.readEnvironment(), USE_CLOUD_STORAGE: 'false' });
  checkStore(storePath);
  return plan(storePath, projectId ?? null);
}

async function run(context: CommandContext, options: MigrateOptions): Promise<Report> {
  const { migrate } = await import('../migrate/migrate.ts');
  const { migrateBucket } = await import('../migrate/bucket.ts');
  const owners =
    options.owners === undefined ? new Map<string, string>() : readOwners(options.owners);
  const line = new ProgressLine(process.stderr, options.progress && !context.json);
  let isAway = false;
  const stop = listenForStop();
  const report = await context.withStorage(
    async (storage, { storePath }) => {
      const common = {
        only: options.projectId ?? null,
        owners,
        signal: stop.signal,
        onProgress: ({ stage, done, total }: Progress) => line.show(stage, done, total),
      };
      const report =
        options.fromBucket === true
          ? await migrateBucket(storage, common)
          : await migrate(storage, { ...common, storePath, verify: options.verify === true });
      line.clear();
      return report;
    },
    {
      changes: true,
      // It takes in what lies there.
      makes: options.fromBucket === true,
      onProblem: (error) => {
        line.clear();
        // What one generation failed for is in the report.
        if (!(error instanceof StorageError)) context.onProblem(error);
        else if (error.code === 'unavailable' && !isAway) {
          isAway = true;
          context.say(`${error.message}. Waiting for the cloud for a minute`);
        }
      },
    },
  );
  if (stop.signal.aborted) {
    context.say('Stopped. The same command goes on: what is done is passed over');
    // Once what it came to is printed.
    setImmediate(() => stop.end(130));
  }
  return report;
}

function readOwners(file: string): Map<string, string> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'it is not JSON';
    throw new StorageError('invalid_input', `Cannot read "${file}": ${reason}`, { cause });
  }
  if (json === null || typeof json !== 'object' || Array.isArray(json)) {
    throw new StorageError(
      'invalid_input',
      `Cannot use "${file}": it is no object of user ids by project`,
    );
  }
  return new Map(
    Object.entries(json).map(([project, owner]) => {
      try {
        return [parseId(project, 'project id'), parseOwner(owner)];
      } catch (cause) {
        const reason = (cause as StorageError).message.replace(/^Cannot use /, '');
        const message = `Cannot use "${file}": of project ${JSON.stringify(project)}: ${reason}`;
        throw new StorageError('invalid_input', message, { cause });
      }
    }),
  );
}

function describe(report: Report, isPlan: boolean): string[] {
  const { found, migrated, known, verified, failed, problems } = report;
  return [
    `found     ${found}${report.stopped ? ' so far' : ''}`,
    `${isPlan ? 'to do    ' : 'migrated '} ${migrated}`,
    `known     ${known}`,
    ...(isPlan
      ? []
      : [
          `verified  ${verified ?? (report.stopped ? 'not asked: it was stopped' : 'the cloud is off: nothing is uploaded')}`,
        ]),
    `failed    ${failed}`,
    ...(problems.length === 0
      ? []
      : [
          '',
          ...formatTable(
            ['PATH', 'REASON'],
            problems.map(({ path, reason }) => [path, reason]),
          ),
        ]),
  ];
}
