import { type Command, Option } from 'commander';
import type { RestoreReport } from '../restore/report.ts';
import { parseIdArgument } from './arguments.ts';
import { type CommandContext, formatBytes, formatTable } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';
import { ProgressLine } from './progress.ts';
import { listenForStop } from './signals.ts';

type RestoreOptions = { dryRun?: boolean; fromBucket?: boolean; from?: string; progress: boolean };

export function addRestore(program: Command, context: CommandContext): void {
  program
    .command('restore')
    .description('bring everything that the cloud has into the store of this host')
    .argument('[project]', 'this project alone', parseIdArgument)
    .option('--dry-run', 'say what would come, and do nothing')
    .option('--from-bucket', 'go by what lies in the bucket: the database was lost, and is filled')
    .addOption(
      new Option(
        '--from <replica>',
        'go by what lies in a replica: bucket and database were lost, and are filled',
      ).conflicts('fromBucket'),
    )
    .option('--no-progress', 'no progress on a terminal')
    .addHelpText(
      'after',
      `
Each archive is compared with its hash, and each file in it. Owners, what is active, what is deleted and which
versions are taken come too. What is here already stays. It may be stopped and repeated. What cannot be had is
told of; the exit code is 3 then.

Examples:
  $ codebegen-storage restore --dry-run
  $ codebegen-storage restore
  $ codebegen-storage restore shop --json
  $ codebegen-storage restore --from far`,
    )
    .action(async (projectId: string | undefined, options: RestoreOptions) => {
      const report = await run(context, projectId, options);
      context.show(report, () => describe(report, options.dryRun === true));
      if (report.problems.length > 0) context.exitCode = EXIT_PARTLY;
    });
}

async function run(
  context: CommandContext,
  projectId: string | undefined,
  { dryRun = false, fromBucket = false, from, progress }: RestoreOptions,
): Promise<RestoreReport> {
  const line = new ProgressLine(process.stderr, progress && !context.json);
  const stop = listenForStop();
  const report = await context.withStorage(
    async (storage, { uploadConcurrency: concurrency }) => {
      try {
        return await storage.restore({
          ...(projectId === undefined ? {} : { projectId }),
          ...(from === undefined ? {} : { from }),
          ...{ dryRun, fromBucket, concurrency },
          signal: stop.signal,
          onProgress: ({ done, total }) => line.show('restore', done, total),
        });
      } finally {
        line.clear();
      }
    },
    dryRun ? { fromCloud: true } : { changes: true, makes: true },
  );
  if (stop.signal.aborted) {
    context.say('Stopped. The same command goes on: what is here is passed over');
    // Once what it came to is printed.
    setImmediate(() => stop.end(130));
  }
  return report;
}

function describe(report: RestoreReport, isPlan: boolean): string[] {
  const { found, restored, bytes, there, deleted, failed, problems, stopped } = report;
  return [
    `found     ${found}${stopped ? ' so far' : ''}`,
    `${isPlan ? 'to come  ' : 'restored '} ${restored}, ${formatBytes(bytes)}`,
    `here      ${there}`,
    ...(isPlan ? [] : [`deleted   ${deleted} deletions are known here now`]),
    `failed    ${failed}`,
    ...(problems.length === 0
      ? []
      : [
          '',
          ...formatTable(
            ['PROJECT', 'VERSION', 'REASON'],
            problems.map(({ projectId, version, reason }) => [projectId, `v${version}`, reason]),
          ),
        ]),
  ];
}
