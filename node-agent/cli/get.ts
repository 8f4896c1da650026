import { cp, mkdir, readdir } from 'node:fs/promises';
import type { Command } from 'commander';
import { StorageError } from '../contract.ts';
import { addRefArguments, toRef } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addGet(program: Command, context: CommandContext): void {
  addRefArguments(program.command('get'))
    .description('print where the files of a generation are, or copy them')
    .option('--to <dir>', 'copy the files into this folder, which must be new or empty')
    .addHelpText(
      'after',
      `
Examples:
  $ ls $(codebegen-storage get shop 3)
  $ codebegen-storage get shop 3 --to ./restored`,
    )
    .action(
      async (projectId: string, version: number, options: { generation?: string; to?: string }) => {
        await context.withStorage(async (storage) => {
          const found = await storage.get(toRef(projectId, version, options));
          if (options.to !== undefined) await copy(found.sourcePath, options.to);
          const path = options.to ?? found.sourcePath;
          const { manifest: _, ...rest } = found;
          context.show({ ...rest, sourcePath: path }, () => [path]);
        });
      },
    );
}

async function copy(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  if ((await readdir(to)).length > 0) {
    throw new StorageError('conflict', `Cannot copy into "${to}": it is not empty`);
  }
  await cp(from, to, { recursive: true });
}
