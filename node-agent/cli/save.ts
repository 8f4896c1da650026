import { createReadStream } from 'node:fs';
import { type Command, Option } from 'commander';
import { StorageError } from '../contract.ts';
import type { Receipt } from '../save/receipt.ts';
import type { Storage } from '../storage/storage.ts';
import { DEFAULT_EXCLUDES } from '../store/exclude.ts';
import type { LeftOut } from '../store/left-out.ts';
import { LINK_POLICIES, type LinkPolicy } from '../store/source.ts';
import { kindOf } from './archive-kind.ts';
import { parseIdArgument, parseOwnerArgument, parseVersionArgument } from './arguments.ts';
import { type CommandContext, formatBytes } from './context.ts';

/** So many of what was left out are named on a terminal. */
const MAX_NAMED = 10;

type SaveOptions = {
  project: string;
  version?: number;
  generation?: string;
  owner?: string;
  replace?: boolean;
  exclude: string[];
  defaultExcludes: boolean;
  gitignore?: boolean;
  links: LinkPolicy;
};

export function addSave(program: Command, context: CommandContext): void {
  program
    .command('save')
    .description('save the files of a folder, a tar or a zip as a generation')
    .argument('<path>', 'the folder; or a file: a tar, a tar.gz or a zip')
    .requiredOption('--project <id>', 'project id', parseIdArgument)
    .option('--version <n>', 'version; the next free one where left out', parseVersionArgument)
    .option('--generation <id>', 'generation id; a new one where left out', parseIdArgument)
    .option('--owner <uuid>', 'the user whose project it is', parseOwnerArgument)
    .option('--replace', 'put it in the place of other content under the same name')
    .option(
      '--exclude <pattern>',
      'leave out, in the syntax of .gitignore; may be repeated',
      gather,
      [],
    )
    .option('--no-default-excludes', `take ${DEFAULT_EXCLUDES.join(', ')} too`)
    .option('--gitignore', "obey the project's own .gitignore files")
    .addOption(
      new Option(
        '--links <policy>',
        'what becomes of symbolic links: left out, refused, or what they lead to',
      )
        .choices(LINK_POLICIES)
        .default('skip'),
    )
    .addHelpText(
      'after',
      `
All files are saved, but what is left out, which is counted and named: ${DEFAULT_EXCLUDES.join(', ')},
what a .codebegenignore says (in the syntax of .gitignore), links, and the store and the secrets of this agent.
Of a tar or a zip all files are saved, but the links.

Examples:
  $ codebegen-storage save ./out --project shop
  $ codebegen-storage save . --project shop --exclude '*.log' --gitignore
  $ codebegen-storage save ./out.zip --project shop
  $ codebegen-storage save ./out --project shop --version 3 --generation gen-456 --json`,
    )
    .action(async (path: string, options: SaveOptions) => {
      await context.withStorage(
        async (storage) => {
          const receipt = await save(storage, path, options);
          tellLeftOut(context, receipt.leftOut);
          if (receipt.versionProvisional && !context.json) {
            context.say(
              'The cloud could not be asked which versions are taken: this one may get another',
            );
          }
          context.show(receipt, () => [
            `${receipt.projectId} v${receipt.version} ${receipt.generationId}: ${
              receipt.created ? 'saved' : 'unchanged'
            }, ${receipt.fileCount} ${receipt.fileCount === 1 ? 'file' : 'files'}, ${formatBytes(receipt.bytes)}, ${receipt.status}`,
          ]);
        },
        { changes: true, makes: true },
      );
    });
}

function save(storage: Storage, path: string, options: SaveOptions): Promise<Receipt> {
  const details = {
    projectId: options.project,
    ...(options.version === undefined ? {} : { version: options.version }),
    ...(options.generation === undefined ? {} : { generationId: options.generation }),
    ...(options.owner === undefined ? {} : { ownerId: options.owner }),
    replace: options.replace === true,
    links: options.links,
  };
  const { exclude, defaultExcludes, gitignore = false } = options;
  const kind = kindOf(path);
  if (kind === 'folder') {
    return storage.saveFolder({ ...details, folder: path, exclude, defaultExcludes, gitignore });
  }
  if (exclude.length > 0 || !defaultExcludes || gitignore) {
    throw new StorageError(
      'invalid_input',
      `Cannot use --exclude, --no-default-excludes or --gitignore: "${path}" is an archive, all of which is saved`,
    );
  }
  return kind === 'zip'
    ? storage.saveZip({ ...details, zip: createReadStream(path) })
    : storage.saveTar({ ...details, tar: createReadStream(path) });
}

function gather(pattern: string, before: string[]): string[] {
  return [...before, pattern];
}

/** What was not saved is said, and no part of the data. */
function tellLeftOut(context: CommandContext, { count, items }: LeftOut): void {
  if (count === 0 || context.json) return;
  const named = items.slice(0, MAX_NAMED).map(({ path, reason }) => `${path} (${reason})`);
  const more = count > named.length ? `, and ${count - named.length} more` : '';
  context.say(`Left out ${count}: ${named.join(', ')}${more}`);
}
