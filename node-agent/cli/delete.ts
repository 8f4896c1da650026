import type { Command } from 'commander';
import { addRefArguments, toRef } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addDelete(program: Command, context: CommandContext): void {
  addRefArguments(program.command('delete'))
    .description('delete a generation: here at once, in the cloud soon after')
    .addHelpText(
      'after',
      `
Example:
  $ codebegen-storage delete shop 3 --generation gen-456`,
    )
    .action(async (projectId: string, version: number, options: { generation?: string }) => {
      await context.withStorage(
        async (storage) => {
          const { ref, deleted } = await storage.delete(toRef(projectId, version, options));
          context.show({ ...ref, status: 'deleted', deleted }, () => [
            `${ref.projectId} v${ref.version} ${ref.generationId}: ${
              deleted ? 'deleted' : 'was deleted already'
            }`,
          ]);
        },
        { changes: true },
      );
    });
}
