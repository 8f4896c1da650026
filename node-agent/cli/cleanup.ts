import type { Command } from 'commander';
import { parseTimeArgument } from './arguments.ts';
import { type CommandContext, formatBytes } from './context.ts';

type CleanupOptions = { store?: boolean; trees?: boolean; olderThan?: number };

/** Why nothing may have gone. */
const STAYS = {
  trees: 'What is active, and what was asked for in the last ten minutes, stays',
  originals:
    'What is active stays, and what is younger or not verified in the cloud: --older-than 0h takes every age',
  ofEveryAge: 'What is active stays, and what is not verified in the cloud: uploads says why',
} as const;

export function addCleanup(program: Command, context: CommandContext): void {
  program
    .command('cleanup')
    .description(
      'evict cached copies that are too old or too much; originals where it is asked for',
    )
    .option('--store', 'take originals out of the store that are in the cloud, their bytes proven')
    .option('--trees', 'remove the trees that are laid out: each is laid out again when asked for')
    .option(
      '--older-than <time>',
      'of the store: saved so long ago, as in 12h or 30d',
      parseTimeArgument,
    )
    .addHelpText(
      'after',
      `
What was taken out of the store is got from the cloud from then on. The cloud is asked again for each of them;
what is active in its project stays. Trees are laid out again from the archive of this host; what was handed out in
the last ten minutes stays too.

Examples:
  $ MAX_CACHE_AGE_HOURS=1 codebegen-storage cleanup
  $ codebegen-storage cleanup --trees
  $ codebegen-storage cleanup --store --older-than 30d`,
    )
    .action(async (options: CleanupOptions, command: Command) => {
      if ((options.store === true) !== (options.olderThan !== undefined)) {
        command.error('error: --store and --older-than go together', { exitCode: 2 });
      }
      if (options.trees === true && options.store === true) {
        command.error('error: --trees and --store do not go together', { exitCode: 2 });
      }
      await context.withStorage(
        async (storage) => {
          const { olderThan } = options;
          const [what, cleaned] = options.trees
            ? (['trees', await storage.cleanupTrees({ all: true })] as const)
            : olderThan !== undefined
              ? (['originals', await storage.cleanupStore({ olderThanMs: olderThan })] as const)
              : (['cached copies', await storage.cleanupCache()] as const);
          if (cleaned.evicted === 0 && what !== 'cached copies' && !context.json) {
            context.say(STAYS[olderThan === 0 ? 'ofEveryAge' : what]);
          }
          context.show(cleaned, () => [
            `${cleaned.evicted} ${what} evicted, ${formatBytes(cleaned.bytes)}`,
          ]);
        },
        { anyway: true },
      );
    });
}
