import type { Command } from 'commander';
import { PAGE } from '../contract.ts';
import type { RefInput } from '../read/find.ts';
import { parseCountArgument, parseIdArgument, parseVersionArgument } from './arguments.ts';
import { type CommandContext, formatTable } from './context.ts';

type UploadsOptions = { limit: number; cursor?: number };

export function addUploads(program: Command, context: CommandContext): void {
  program
    .command('uploads')
    .description('list what is owed to the cloud, oldest first, or have it done')
    .argument('[action]', '"retry", "resend" or "renumber"')
    .argument('[project]', 'of "resend" and "renumber"', parseIdArgument)
    .argument('[version]', 'of "renumber"', parseVersionArgument)
    .option('--limit <n>', 'rows', parseCountArgument, PAGE.default)
    .option('--cursor <n>', 'next_cursor of the page before', parseCountArgument)
    .addHelpText(
      'after',
      `
Actions:
  retry                       try again what was parked, and what waits, at once
  resend [project]            ask the cloud for everything that lies here, or was deleted: what it lost is
                              sent again. For a bucket, a database or a whole project that was lost
  renumber <project> <version>
                              save what was parked under the next version that is free, its own being
                              taken in the cloud

Examples:
  $ codebegen-storage uploads
  $ codebegen-storage uploads retry
  $ codebegen-storage uploads resend shop
  $ codebegen-storage uploads renumber shop 5`,
    )
    .action(
      async (
        action: string | undefined,
        projectId: string | undefined,
        version: number | undefined,
        options: UploadsOptions,
        command: Command,
      ) => {
        const refuse = (problem: string) => command.error(`error: ${problem}`, { exitCode: 2 });
        switch (action) {
          case undefined:
            return list(context, options);
          case 'retry':
            if (projectId !== undefined) refuse('"retry" takes no project: it tries all again');
            return retry(context);
          case 'resend':
            if (version !== undefined) refuse('"resend" takes no version, but a project');
            return resend(context, projectId ?? null);
          case 'renumber':
            if (projectId === undefined || version === undefined) {
              return refuse('"renumber" needs a project and a version');
            }
            return renumber(context, { projectId, version });
          default:
            refuse(`unknown action '${action}': "retry", "resend" and "renumber" are known`);
        }
      },
    );
}

async function list(context: CommandContext, { limit, cursor }: UploadsOptions): Promise<void> {
  await context.withStorage(
    async (storage) => {
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
    },
    { anyway: true },
  );
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

async function resend(context: CommandContext, projectId: string | null): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const owed = await storage.resend(projectId);
      context.show({ owed }, () => [`${owed} are asked for again`]);
      context.say('They are sent as the cloud has them no more: codebegen-storage uploads');
    },
    { changes: true },
  );
}

async function renumber(context: CommandContext, ref: RefInput): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const { version } = await storage.renumber(ref);
      context.show({ ...ref, movedTo: version }, () => [
        `${ref.projectId} v${ref.version} is v${version} now`,
      ]);
    },
    { changes: true },
  );
}
