import type { Command } from 'commander';
import { parseIdArgument } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addOwner(program: Command, context: CommandContext): void {
  program
    .command('owner')
    .description('say whose a project is that has no owner, here and in the cloud')
    .argument('<project>', 'project id', parseIdArgument)
    .argument('<uuid>', 'the id of the user')
    .addHelpText(
      'after',
      `
Example:
  $ codebegen-storage owner shop 3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11`,
    )
    .action(async (projectId: string, ownerId: string) => {
      await context.withStorage(async (storage) => {
        const changed = await storage.setOwner(projectId, ownerId);
        context.show({ projectId, ownerId: ownerId.toLowerCase(), changed }, () => [
          `${projectId} ${changed ? 'is now' : 'was already'} of ${ownerId.toLowerCase()}`,
        ]);
      });
    });
}
