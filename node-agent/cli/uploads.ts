import type { Command } from 'commander';
import { PAGE } from '../contract.ts';
import { parseCountArgument } from './arguments.ts';
import { type CommandContext, formatTable } from './context.ts';

type UploadsOptions = { limit: number; cursor?: number };

export function addUploads(program: Command, context: CommandContext): void {
  program
    .command('uploads')
    .description('list what is owed to the cloud, oldest first, or try again what was parked')
    .argument('[retry]', '"retry": take up again what was parked, and what waits, at once')
    .option('--limit <n>', 'rows', parseCountArgument, PAGE.default)
    .option('--cursor <n>', 'next_cursor of the page before', parseCountArgument)
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage uploads
  $ codebegen-storage uploads retry`,
    )
    .action(async (action: string | undefined, options: UploadsOptions, command: Command) => {
      if (action === undefined) await list(context, options);
      else if (action === 'retry') await retry(context);
      else
        command.error(`error: unknown action '${action}': only "retry" is known`, { exitCode: 2 });
    });
}

async function list(context: CommandContext, { limit, cursor }: UploadsOptions): Promise<void> {
  await context.withStorage(async (storage) => {
    const page = await storage.uploads({ limit, ...(cursor === undefined ? {} : { cursor }) });
    context.show(page, () =>
      formatTable(
        ['PROJECT', 'VERSION', 'STEP', 'SINCE', 'ATTEMPTS', 'NEXT', 'FAILURE'],
        page.items.map((item) => [
          item.projectId,
          `v${item.version}`,
          item.step,
          item.since,
          String(item.attempts),
          item.dueAt ?? 'parked',
          item.failure ?? '-',
        ]),
      ),
    );
    if (page.nextCursor !== null && !context.json) {
      context.say(`There are more: --cursor ${page.nextCursor}`);
    }
  });
}

async function retry(context: CommandContext): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const retried = await storage.retryParked();
      context.show({ retried }, () => [`${retried} that were parked are tried again`]);
    },
    { changes: true },
  );
}
