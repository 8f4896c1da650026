import type { Command } from 'commander';
import { StorageError, URL_EXPIRY } from '../contract.ts';
import { addRefArguments, parseCountArgument, toRef } from './arguments.ts';
import type { CommandContext } from './context.ts';

export function addUrl(program: Command, context: CommandContext): void {
  addRefArguments(program.command('url'))
    .description('print a signed URL for the archive of a generation')
    .option(
      '--expires-in <seconds>',
      'how long it is good for',
      parseCountArgument,
      URL_EXPIRY.default,
    )
    .addHelpText(
      'after',
      `
Example:
  $ curl --output shop.tar.gz "$(codebegen-storage url shop 3)"`,
    )
    .action(
      async (
        projectId: string,
        version: number,
        options: { generation?: string; expiresIn: number },
      ) => {
        await context.withStorage(
          async (storage) => {
            const ref = toRef(projectId, version, options);
            const download = await storage.downloadUrl(ref, { expiresIn: options.expiresIn });
            if (download === null) {
              const { status } = await storage.summary(ref);
              throw new StorageError(
                'conflict',
                `Cannot sign "${projectId} v${version}": it is ${status}, not in the cloud, and no daemon serves it (codebegen-storage start)`,
              );
            }
            context.show(download, () => [download.url]);
          },
          { anyway: true, fromCloud: true },
        );
      },
    );
}
