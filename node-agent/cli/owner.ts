import type { Command } from 'commander';
import { parseIdArgument, parseOwnerArgument } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addOwner(program: Command, context: CommandContext): void {
  program
    .command('owner')
    .description('say whose a project is, here and in the cloud')
    .argument('<project>', 'project id', parseIdArgument)
    .argument('<uuid>', 'the id of the user', parseOwnerArgument)
    .option('--transfer', 'also where it is another’s: its user sees it no more')
    .addHelpText(
      'after',
      `
Where the cloud has another owner, that one stays and is known here then. What could not be uploaded
for its owner is tried again, by the daemon or the next command that uploads.

Examples:
  $ codebegen-storage owner shop 3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11
  $ codebegen-storage owner shop 3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11 --transfer`,
    )
    .action(async (projectId: string, ownerId: string, options: { transfer?: boolean }) => {
      await context.withStorage(async (storage) => {
        const changed = await storage.setOwner(projectId, ownerId, options);
        context.show({ projectId, ownerId: ownerId.toLowerCase(), changed }, () => [
          `${projectId} ${changed ? 'is now' : 'was already'} of ${ownerId.toLowerCase()}`,
        ]);
      });
    });
}
