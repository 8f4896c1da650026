import { type Command, InvalidArgumentError, Option } from 'commander';
import { StorageError } from '../contract.ts';
import type { Verified, VerifyPosition } from '../upkeep/verify.ts';
import { parseIdArgument, parseVersionArgument } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';
import { ProgressLine } from './progress.ts';
import { listenForStop } from './signals.ts';
import { verifyReplica } from './verify-replica.ts';

type VerifyOptions = {
  store: boolean;
  cloud: boolean;
  sample?: number;
  after?: VerifyPosition;
  progress: boolean;
  repair?: boolean;
  replica?: string;
};

export function addVerify(program: Command, context: CommandContext): void {
  program
    .command('verify')
    .description('compare every byte of store and cloud with the recorded hashes')
    .argument('[project]', 'this project alone', parseIdArgument)
    .option('--no-store', 'leave out what lies on this host')
    .option('--no-cloud', 'leave out what lies in the cloud')
    .option(
      '--repair',
      'make whole what is damaged on this host, from its archive, its tree or the cloud',
    )
    .addOption(
      new Option(
        '--replica <name>',
        'read back the copies in a replica, and nothing else',
      ).conflicts(['sample', 'after']),
    )
    .option('--sample <percent>', 'so many of a hundred generations, at random', parsePercent)
    .option('--after <project/version>', 'go on after this one', parsePosition)
    .option('--no-progress', 'no progress on a terminal')
    .addHelpText(
      'after',
      `
With --json it prints a line for each generation that is damaged, and one at the end. Ctrl-C ends it, and it
says how to go on. The exit code is 3 where something is damaged, and was not repaired. What the cloud lost, or has in other bytes, is
sent again, by the daemon or the next command that uploads; else nothing is changed without --repair. What is not
whole in a replica is copied there again by --replica with --repair.

Examples:
  $ codebegen-storage verify
  $ codebegen-storage verify --no-cloud --sample 5
  $ codebegen-storage verify --after shop/17
  $ codebegen-storage verify --replica far --repair`,
    )
    .action(async (project: string | undefined, options: VerifyOptions, command: Command) => {
      if (!options.store && !options.cloud) {
        command.error('error: --no-store and --no-cloud leave nothing to verify', { exitCode: 2 });
      }
      if (!options.store && options.repair === true) {
        command.error('error: --repair mends what --no-store leaves out', { exitCode: 2 });
      }
      if (options.replica !== undefined) {
        if (!options.store || !options.cloud) {
          command.error('error: --replica reads neither store nor cloud', { exitCode: 2 });
        }
        return verifyReplica(context, options.replica, project, options);
      }
      const line = new ProgressLine(process.stderr, options.progress && !context.json);
      const stop = listenForStop();
      await context
        .withStorage(
          async (storage) => {
            if (
              project !== undefined &&
              (await storage.list(project, { limit: 1 })).items.length === 0
            ) {
              throw new StorageError('not_found', `Cannot find "${project}"`);
            }
            const total = Object.values((await storage.status()).generations).reduce(
              (a, b) => a + b,
              0,
            );
            const summary = {
              ...{ checked: 0, damaged: 0, repaired: 0, unproven: 0 },
              after: null as string | null,
            };
            const checks = storage.verify({
              ...(project === undefined ? {} : { projectId: project }),
              ...(options.after === undefined ? {} : { after: options.after }),
              store: options.store,
              cloud: options.cloud,
              repair: options.repair === true,
              sample: (options.sample ?? 100) / 100,
              signal: stop.signal,
            });
            for await (const verified of checks) {
              const { problems, unproven } = verified;
              if (problems.length > 0) summary.damaged++;
              if (problems.length > 0 && isRepaired(verified)) summary.repaired++;
              if (unproven !== null) summary.unproven++;
              if (problems.length > 0 || unproven !== null) {
                line.clear();
                context.show(verified, () => describe(verified));
              }
              summary.checked++;
              summary.after = `${verified.projectId}/${verified.version}`;
              if (project === undefined) line.show('verify', summary.checked, total);
              if (stop.signal.aborted) break;
            }
            line.clear();
            const { checked, damaged, repaired, unproven } = summary;
            const how = options.repair === true ? `, ${repaired} of them repaired` : '';
            const unknown = unproven === 0 ? '' : `, ${unproven} not read back from the cloud`;
            context.show(summary, () => [`${checked} checked, ${damaged} damaged${how}${unknown}`]);
            if (stop.signal.aborted)
              context.say(`Go on with: ${goOn(options, project, summary.after)}`);
            if (damaged > repaired || unproven > 0) context.exitCode = EXIT_PARTLY;
          },
          { anyway: options.repair !== true },
        )
        .catch((error: unknown) => {
          const isAway = error instanceof StorageError && error.retryable;
          if (isAway && options.cloud && !context.json) {
            context.say(
              'What is on this host is compared without the cloud, too: verify --no-cloud',
            );
          }
          throw error;
        });
      stop.end(130);
    });
}

/** The same command, from where it ended. */
function goOn(options: VerifyOptions, project: string | undefined, last: string | null): string {
  const before = options.after && `${options.after.projectId}/${options.after.version}`;
  const after = last ?? before;
  return [
    'codebegen-storage verify',
    ...(project === undefined ? [] : [project]),
    ...(options.store ? [] : ['--no-store']),
    ...(options.cloud ? [] : ['--no-cloud']),
    ...(options.repair === true ? ['--repair'] : []),
    ...(after === undefined ? [] : [`--after ${after}`]),
  ].join(' ');
}

/** What the cloud has not is sent again, but not yet. */
function isRepaired({ repaired, problems }: Verified): boolean {
  return repaired && problems.every(({ where }) => where === 'store');
}

function describe({ projectId, version, problems, unproven, repaired }: Verified): string[] {
  const told = problems.map(({ where, reason }) => {
    const end = repaired && where === 'store' ? ' (repaired)' : '';
    return `${projectId} v${version}  ${where}  ${reason}${end}`;
  });
  return unproven === null ? told : [...told, `${projectId} v${version}  cloud  ${unproven}`];
}

function parsePercent(text: string): number {
  const percent = /^\d{1,3}(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (percent > 0 && percent <= 100) return percent;
  throw new InvalidArgumentError('A number above 0, up to 100');
}

/** `shop/17`: as the command prints it. */
function parsePosition(text: string): VerifyPosition {
  const [projectId = '', version = '', ...rest] = text.split('/');
  if (rest.length > 0) throw new InvalidArgumentError('A project and a version, as in shop/17');
  return { projectId: parseIdArgument(projectId), version: parseVersionArgument(version) };
}
