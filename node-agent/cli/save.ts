import type { Command } from 'commander';
import { parseIdArgument, parseVersionArgument } from './arguments.ts';
import { type CommandContext, formatBytes } from './context.ts';

type SaveOptions = {
  project: string;
  version?: number;
  generation?: string;
  owner?: string;
  replace?: boolean;
};

export function addSave(program: Command, context: CommandContext): void {
  program
    .command('save')
    .description('save the files of a folder as a generation')
    .argument('<dir>', 'the folder; .git and node_modules in it are passed over')
    .requiredOption('--project <id>', 'project id', parseIdArgument)
    .option('--version <n>', 'version; the next free one where left out', parseVersionArgument)
    .option('--generation <id>', 'generation id; a new one where left out', parseIdArgument)
    .option('--owner <uuid>', 'the user whose project it is')
    .option('--replace', 'put it in the place of other content under the same name')
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage save ./out --project shop
  $ codebegen-storage save ./out --project shop --version 3 --generation gen-456 --json`,
    )
    .action(async (folder: string, options: SaveOptions) => {
      await context.withStorage(
        async (storage) => {
          const receipt = await storage.saveFolder({
            folder,
            projectId: options.project,
            ...(options.version === undefined ? {} : { version: options.version }),
            ...(options.generation === undefined ? {} : { generationId: options.generation }),
            ...(options.owner === undefined ? {} : { ownerId: options.owner }),
            replace: options.replace === true,
          });
          context.show(receipt, () => [
            `${receipt.projectId} v${receipt.version} ${receipt.generationId}: ${
              receipt.created ? 'saved' : 'unchanged'
            }, ${receipt.fileCount} files, ${formatBytes(receipt.bytes)}, ${receipt.status}`,
          ]);
        },
        { changes: true },
      );
    });
}
