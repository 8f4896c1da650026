import type { Command } from 'commander';
import { parseDigestArgument, parseIdArgument, parseVersionArgument, toRef } from './arguments.ts';
import type { CommandContext } from './context.ts';

type UndeleteOptions = { generation?: string; content?: string };

export function addUndelete(program: Command, context: CommandContext): void {
  program
    .command('undelete')
    .description('undo a deletion, or bring content back that was replaced')
    .argument('<project>', 'project id', parseIdArgument)
    .argument('<version>', 'version: 1, 2, 3 …', parseVersionArgument)
    .option('--generation <id>', 'the generation id, which must match', parseIdArgument)
    .option('--content <digest>', 'what it held before it was replaced', parseDigestArgument)
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage undelete shop 3`,
    )
    .action(async (projectId: string, version: number, options: UndeleteOptions) => {
      await context.withStorage(
        async (storage) => {
          const { content: digest } = options;
          const wanted = digest === undefined ? {} : { digest };
          const { ref, undeleted } = await storage.undelete(
            toRef(projectId, version, options),
            wanted,
          );
          context.show({ ...ref, undeleted }, () => [
            `${ref.projectId} v${ref.version} ${ref.generationId}: ${
              undeleted ? 'undeleted' : 'was not deleted'
            }`,
          ]);
        },
        { changes: true },
      );
    });
}
