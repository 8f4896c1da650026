import type { Command } from 'commander';
import { type CommandContext, formatBytes } from './context.ts';

export function addCleanup(program: Command, context: CommandContext): void {
  program
    .command('cleanup')
    .description('evict cached copies that are too old or too much; the store is not touched')
    .addHelpText(
      'after',
      `
Example:
  $ MAX_CACHE_AGE_HOURS=1 codebegen-storage cleanup`,
    )
    .action(async () => {
      await context.withStorage(async (storage) => {
        const cleaned = await storage.cleanupCache();
        context.show(cleaned, () => [
          `${cleaned.evicted} cached copies evicted, ${formatBytes(cleaned.bytes)}`,
        ]);
      });
    });
}
