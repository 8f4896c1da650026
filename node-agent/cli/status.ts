import type { Command } from 'commander';
import type { CommandContext } from './context.ts';

export function addStatus(program: Command, context: CommandContext): void {
  program
    .command('status')
    .description('show how many generations there are and what is owed to the cloud')
    .addHelpText(
      'after',
      `
Example:
  $ codebegen-storage status --json`,
    )
    .action(async () => {
      await context.withStorage(async (storage) => {
        const status = await storage.status();
        const counts = Object.entries(status.generations);
        context.show(status, () => [
          `store        ${status.storePath}`,
          `cloud        ${status.cloud.enabled ? `${status.cloud.url}, bucket "${status.cloud.bucket}"` : 'off'}`,
          `generations  ${counts.map(([name, count]) => `${count} ${name}`).join(', ') || 'none'}`,
          `outbox       ${status.outbox.owed} owed, ${status.outbox.parked} parked`,
        ]);
      });
    });
}
