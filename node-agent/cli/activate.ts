import type { Command } from 'commander';
import { addRefArguments, toRef } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addActivate(program: Command, context: CommandContext): void {
  addRefArguments(program.command('activate'))
    .description('make a version the active one of its project, here and in the cloud')
    .addHelpText(
      'after',
      `
Example:
  $ codebegen-storage activate shop 3`,
    )
    .action(async (projectId: string, version: number, options: { generation?: string }) => {
      await context.withStorage(async (storage) => {
        const ref = await storage.activate(toRef(projectId, version, options));
        context.show(ref, () => [`${ref.projectId} v${ref.version} is active`]);
      });
    });
}
