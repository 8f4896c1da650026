import type { Command } from 'commander';
import { type CommandContext, formatBytes } from './context.ts';

export function addPurge(program: Command, context: CommandContext): void {
  program
    .command('purge')
    .description('give up for good what was deleted or replaced and is kept no longer')
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage purge`,
    )
    .action(async () => {
      await context.withStorage(
        async (storage) => {
          const report = await storage.purge();
          const { generations, contents, freedBytes } = report;
          context.show(report, () => [
            `purged ${generations} generations and ${contents} replaced contents, ${formatBytes(freedBytes)}`,
          ]);
        },
        { changes: true },
      );
    });
}
