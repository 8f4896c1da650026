import type { Command } from 'commander';
import type { FileEntry } from '../contract.ts';
import { parseIdArgument, parseVersionArgument } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addDiff(program: Command, context: CommandContext): void {
  program
    .command('diff')
    .description('show which files differ between two versions')
    .argument('<project>', 'project id', parseIdArgument)
    .argument('<from>', 'version', parseVersionArgument)
    .argument('<to>', 'version', parseVersionArgument)
    .addHelpText(
      'after',
      `
A is added, D is deleted, M is modified.

Example:
  $ codebegen-storage diff shop 1 2`,
    )
    .action(async (projectId: string, from: number, to: number) => {
      await context.withStorage(
        async (storage) => {
          const diff = await storage.diff(projectId, from, to);
          const lines = (letter: string, files: readonly Pick<FileEntry, 'path'>[]) =>
            files.map(({ path }) => ({ path, line: `${letter} ${path}` }));
          context.show({ from, to, ...diff }, () =>
            [...lines('A', diff.added), ...lines('D', diff.removed), ...lines('M', diff.modified)]
              .sort((a, b) => (a.path < b.path ? -1 : 1))
              .map(({ line }) => line),
          );
        },
        { anyway: true, fromCloud: true },
      );
    });
}
