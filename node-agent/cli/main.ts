import { Command, CommanderError } from 'commander';
import { ERROR_CODES, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { CONFIG_VARIABLE, ENV_FILES } from '../settings/env-file.ts';
import { addActivate } from './activate.ts';
import { addCleanup } from './cleanup.ts';
import { CommandContext } from './context.ts';
import { addDelete } from './delete.ts';
import { addDiff } from './diff.ts';
import { addDoctor } from './doctor.ts';
import { EXIT_USAGE } from './exit-codes.ts';
import { addGet } from './get.ts';
import { addHosts } from './hosts.ts';
import { addInit } from './init.ts';
import { addList } from './list.ts';
import { addMigrate } from './migrate.ts';
import { addOpen } from './open.ts';
import { addOwner } from './owner.ts';
import { addPurge } from './purge.ts';
import { addReplicas } from './replicas.ts';
import { addRestore } from './restore.ts';
import { addSave } from './save.ts';
import { addShow } from './show.ts';
import { addStart } from './start.ts';
import { addStats } from './stats.ts';
import { addStatus } from './status.ts';
import { addUndelete } from './undelete.ts';
import { addUploads } from './uploads.ts';
import { addUrl } from './url.ts';
import { addVerify } from './verify.ts';
import { readVersion } from './version.ts';
import { addWebhooks } from './webhooks.ts';

type GlobalOptions = { json?: boolean; config?: string; verbose?: boolean };

/** Runs one command. Returns the exit code. */
export async function main(args: string[]): Promise<number> {
  const context = new CommandContext();
  // `list | head` closes the pipe: the rest of the output is wanted by nobody.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    context.say(`Cannot print the answer: ${error.code ?? error.message}`);
    process.exit(ERROR_CODES.internal.exit);
  });
  // Whatever a library makes for us is for nobody else either.
  process.umask(0o077);
  const program = new Command('codebegen-storage')
    .description('Keeps every generation: on this host at once, in a private bucket soon after.')
    .version(readVersion())
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .hook('preAction', (_, action) => {
      const { json, config, verbose } = action.optsWithGlobals<GlobalOptions>();
      Object.assign(context, { json: json === true, isVerbose: verbose === true });
      context.configFile = config;
    });
  const commands = [
    addInit,
    addDoctor,
    addStart,
    addSave,
    addGet,
    addOpen,
    addUrl,
    addList,
    addShow,
    addDiff,
    addActivate,
    addDelete,
    addUndelete,
    addPurge,
    addOwner,
    addStatus,
    addStats,
    addUploads,
    addCleanup,
    addVerify,
    addRestore,
    addMigrate,
    addWebhooks,
    addHosts,
    addReplicas,
  ];
  for (const add of commands) {
    add(program, context);
  }
  // `codebegen-storage save DIR --json` and `codebegen-storage --json save DIR` are the same.
  const all = program.commands.flatMap((command) => [command, ...command.commands]);
  for (const command of [program, ...all]) {
    command
      .option('--json', 'print one JSON object; a failure too')
      .option('--config <file>', `settings; else $${CONFIG_VARIABLE}, ${ENV_FILES.join(', ')}`)
      .option('-v, --verbose', 'say which settings are used')
      .exitOverride();
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return context.exitCode;
  } catch (error) {
    return exitCodeOf(error, context, args);
  }
}

function exitCodeOf(error: unknown, context: CommandContext, args: string[]): number {
  if (error instanceof CommanderError) {
    // Help and version that were asked for.
    if (error.exitCode === 0) return 0;
    context.json = args.includes('--json');
    // In one line, and without what it ends with.
    const text = error.message
      .replace(/^error: /, '')
      .replaceAll(/\s*\n\s*/g, ' ')
      .replace(/\.+$/, '');
    // A command without arguments has printed its help already.
    if (error.code !== 'commander.help') {
      context.fail(new StorageError('invalid_input', `${upperFirst(text)}. Try --help.`));
    }
    return EXIT_USAGE;
  }
  const name = args.find((arg) => !arg.startsWith('-')) ?? 'the command';
  error = fromFileSystem(error, `finish "${name}"`);
  context.fail(error);
  return error instanceof StorageError ? ERROR_CODES[error.code].exit : ERROR_CODES.internal.exit;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
