import type { Command } from 'commander';
import { isInCloud } from '../contract.ts';
import { addRefArguments, toRef } from './arguments.ts';
import { type CommandContext, formatBytes } from './context.ts';

export function addShow(program: Command, context: CommandContext): void {
  addRefArguments(program.command('show'))
    .description('show what is known of a generation')
    .addHelpText(
      'after',
      `
Example:
  $ codebegen-storage show shop 3`,
    )
    .action(async (projectId: string, version: number, options: { generation?: string }) => {
      await context.withStorage(
        async (storage) => {
          const summary = await storage.show(toRef(projectId, version, options));
          context.show(summary, () => [
            `generation  ${summary.projectId} v${summary.version} ${summary.generationId}`,
            `status      ${summary.status}${summary.failure === null ? '' : `: ${summary.failure}`}`,
            `files       ${summary.fileCount ?? '-'}, ${formatBytes(summary.bytes)}`,
            `archive     ${formatBytes(summary.archiveBytes)}, sha256 ${summary.sha256 ?? '-'}`,
            `object key  ${summary.objectKey}`,
            `created     ${summary.createdAt}`,
            `uploaded    ${summary.uploadedAt ?? '-'}`,
            `here        ${summary.localPath ?? (isInCloud(summary.status) ? 'no: the cloud has it' : 'nothing that can be read')}`,
            ...(Object.keys(summary.metadata ?? {}).length === 0
              ? []
              : [`metadata    ${JSON.stringify(summary.metadata)}`]),
            ...summary.replaced.map(
              ({ digest, keptUntil }) => `held before ${digest}, kept here until ${keptUntil}`,
            ),
          ]);
        },
        { anyway: true },
      );
    });
}
