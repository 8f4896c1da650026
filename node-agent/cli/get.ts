import { existsSync, lstatSync } from 'node:fs';
import { chmod, mkdir, open, readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { type FileEntry, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { makeFolders } from '../disk/make-folders.ts';
import type { RefInput } from '../read/find.ts';
import type { OpenGeneration } from '../read/open.ts';
import type { Storage } from '../storage/storage.ts';
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
        await context.withStorage(
          async (storage) => {
            const ref = toRef(projectId, version, options);
            const { to } = options;
            const { manifest: _, ...found } =
              to === undefined
                ? await storage.get(ref)
                : { ...(await getCopied(storage, ref, to)), path: to, sourcePath: to };
            context.show(found, () => [found.sourcePath]);
          },
          { anyway: true, fromCloud: true },
        );
      },
    );
}

/** Copies one content of a generation, whole, also where it is replaced meanwhile. */
async function getCopied(storage: Storage, ref: RefInput, to: string) {
  const generation = await storage.open(ref, { isWhole: true });
  try {
    await copy(generation, to);
    const { projectId, version, generationId, manifest, from, stale } = generation;
    return { projectId, version, generationId, manifest, from, stale };
  } finally {
    await generation.close();
  }
}

/**
 * Copies the files with the modes that the manifest has, whatever the umask.
 *
 * @throws StorageError `corrupt` where what lies here is not what was saved; nothing is left then
 */
async function copy(generation: OpenGeneration, to: string): Promise<void> {
  checkTarget(to);
  let made: string | undefined;
  try {
    made = makeFolders(to);
  } catch (error) {
    throw fromFileSystem(error, `copy into "${to}"`);
  }
  if ((await readdir(to)).length > 0) {
    throw new StorageError('conflict', `Cannot copy into "${to}": it is not empty`);
  }
  try {
    for (const entry of await generation.files()) await copyFile(generation, entry, to);
    // Those that were there keep theirs.
    for (const folder of foldersFrom(made, to)) await chmod(folder, FOLDER_MODE);
  } catch (error) {
    for (const name of await readdir(to)) await rm(join(to, name), { recursive: true });
    throw fromFileSystem(error, `copy into "${to}"`);
  }
}

const FOLDER_MODE = 0o755;

/** Those that were made, from the innermost to the outermost. */
function foldersFrom(made: string | undefined, to: string): string[] {
  const folders: string[] = [];
  const outermost = made === undefined ? null : resolve(made);
  for (let folder = resolve(to); outermost !== null; folder = dirname(folder)) {
    folders.push(folder);
    if (folder === outermost) break;
  }
  return folders;
}

/** A link would have the files land where it leads. */
function checkTarget(to: string): void {
  if (lstatSync(to, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return;
  throw new StorageError(
    'invalid_input',
    `Cannot copy into "${to}": it is a symbolic link; name the folder that it leads to`,
  );
}

async function copyFile(
  generation: OpenGeneration,
  { path, mode }: FileEntry,
  to: string,
): Promise<void> {
  for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
    const folder = join(to, path.slice(0, end));
    if (existsSync(folder)) continue;
    await mkdir(folder);
    await chmod(folder, FOLDER_MODE);
  }
  const file = await open(join(to, path), 'wx', mode);
  try {
    for await (const piece of generation.read(path)) await file.writeFile(piece);
    await file.chmod(mode);
  } finally {
    await file.close();
  }
}
