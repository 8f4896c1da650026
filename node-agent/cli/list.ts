import type { Command } from 'commander';
import { PAGE, parseVersion, StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { parseCountArgument, parseIdArgument } from './arguments.ts';
import { type CommandContext, formatBytes, formatTable, sayMore } from './context.ts';
import { listInCloud } from './list-cloud.ts';

type ListOptions = { limit: number; cursor?: string; cloud?: boolean };

export function addList(program: Command, context: CommandContext): void {
  program
    .command('list')
    .description('list projects, or the generations of one, newest first')
    .argument('[project]', 'project id', parseIdArgument)
    .option('--limit <n>', 'rows', parseCountArgument, PAGE.default)
    .option('--cursor <cursor>', 'next_cursor of the page before')
    .option('--cloud', 'what the cloud knows, whoever saved it; oldest version first')
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage list
  $ codebegen-storage list shop --limit 10 --json
  $ codebegen-storage list --cloud`,
    )
    .action(async (project: string | undefined, options: ListOptions) => {
      await context.withStorage(
        async (storage) => {
          if (options.cloud === true) await listInCloud(context, storage, project, options);
          else if (project === undefined) await listProjects(context, storage, options);
          else await listGenerations(context, storage, project, options);
        },
        options.cloud === true ? { fromCloud: true } : { anyway: true },
      );
    });
}

async function listProjects(
  context: CommandContext,
  storage: Storage,
  { limit, cursor }: ListOptions,
): Promise<void> {
  const page = await storage.listProjects({ limit, ...(cursor === undefined ? {} : { cursor }) });
  context.show(page, () =>
    formatTable(
      ['PROJECT', 'VERSIONS', 'LATEST', 'BYTES', 'OWNER'],
      page.items.map((item) => [
        item.projectId,
        String(item.versions),
        `v${item.latestVersion}`,
        formatBytes(item.bytes),
        item.ownerId ?? '-',
      ]),
    ),
  );
  sayMore(context, page.nextCursor);
}

async function listGenerations(
  context: CommandContext,
  storage: Storage,
  project: string,
  { limit, cursor }: ListOptions,
): Promise<void> {
  const page = await storage.list(project, {
    limit,
    ...(cursor === undefined ? {} : { cursor: parseVersion(cursor) }),
  });
  if (page.items.length === 0 && cursor === undefined) {
    throw new StorageError('not_found', `Cannot find project "${project}": nothing of it is here`);
  }
  const active = await storage.activeVersion(project);
  const items = page.items.map((item) => ({ ...item, active: item.version === active }));
  context.show({ ...page, items }, () =>
    formatTable(
      ['VERSION', 'GENERATION', 'STATUS', 'HERE', 'ACTIVE', 'FILES', 'BYTES', 'CREATED'],
      items.map((item) => [
        `v${item.version}`,
        item.generationId,
        item.status,
        item.localPath === null ? 'no' : 'yes',
        item.active ? 'yes' : '-',
        String(item.fileCount ?? '-'),
        formatBytes(item.bytes),
        item.createdAt,
      ]),
    ),
  );
  sayMore(context, page.nextCursor);
}
