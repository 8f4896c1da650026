import { type Command, InvalidArgumentError } from 'commander';
import { parseIdArgument, parseVersionArgument } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';

export function addOpen(program: Command, context: CommandContext): void {
  program
    .command('open')
    .description('lay out the files of a generation in the store, or of all of them')
    .argument('[project]', 'project id', parseIdArgument)
    .argument('[version]', 'version', parseVersionArgument)
    .option('--all', 'every generation; of the project, where one is named')
    .addHelpText(
      'after',
      `
They stay until they are cleaned up: age and size of the cache count, and what is active stays. Laid out for good by
--all, the store is one that the Python system reads: see docs/rollback.md.

Examples:
  $ codebegen-storage open shop 3
  $ codebegen-storage open --all`,
    )
    .action(
      async (project: string | undefined, version: number | undefined, options: { all?: true }) => {
        if (options.all !== true && version === undefined) {
          throw new InvalidArgumentError('Name a project and a version, or --all');
        }
        await context.withStorage(async (storage) => {
          if (options.all !== true) {
            const { path } = await storage.get({ projectId: project!, version: version! });
            context.show({ path }, () => [path]);
            return;
          }
          let opened = 0;
          const problems: string[] = [];
          for await (const { problem } of storage.openAll(project ?? null)) {
            if (problem === null) opened++;
            else problems.push(problem);
          }
          context.show({ opened, problems }, () => [`${opened} laid out`]);
          for (const problem of context.json ? [] : problems) context.say(problem);
          if (problems.length > 0) context.exitCode = EXIT_PARTLY;
        });
      },
    );
}
