import { cp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { StorageError } from '../contract.ts';
import { makeFolders } from '../make-folders.ts';
import { fromFileSystem } from '../store/durable.ts';
import { hasContent } from '../store/hash.ts';
import type { LocalGeneration } from '../types.ts';
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
          if (options.to !== undefined) await copy(found, options.to);
          const path = options.to ?? found.sourcePath;
          const { manifest: _, ...rest } = found;
          context.show({ ...rest, sourcePath: path }, () => [path]);
        });
      },
    );
}

/** @throws StorageError `corrupt` where what lies here is not what was saved; nothing is left then */
async function copy({ sourcePath: from, manifest }: LocalGeneration, to: string): Promise<void> {
  try {
    makeFolders(to);
  } catch (error) {
    throw fromFileSystem(error, `copy into "${to}"`);
  }
  if ((await readdir(to)).length > 0) {
    throw new StorageError('conflict', `Cannot copy into "${to}": it is not empty`);
  }
  try {
    await cp(from, to, { recursive: true });
    for (const entry of manifest.entries ?? []) {
      if (await hasContent(join(to, entry.path), entry).catch(() => false)) continue;
      throw new StorageError(
        'corrupt',
        `Cannot copy ${JSON.stringify(entry.path)}: it is not what was saved. codebegen-storage verify tells more`,
      );
    }
  } catch (error) {
    for (const name of await readdir(to)) await rm(join(to, name), { recursive: true });
    throw fromFileSystem(error, `copy into "${to}"`);
  }
}
