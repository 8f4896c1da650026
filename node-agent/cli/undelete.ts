import type { Command } from 'commander';
import {
  parseDigestArgument,
  parseIdArgument,
  parseVersionArgument,
  toRef,
  versionOrAll,
} from './arguments.ts';
import type { CommandContext } from './context.ts';

type UndeleteOptions = { generation?: string; content?: string; all?: boolean };

export function addUndelete(program: Command, context: CommandContext): void {
  program
    .command('undelete')
    .description('undo a deletion, or bring content back that was replaced')
    .argument('<project>', 'project id', parseIdArgument)
    .argument('[version]', 'version: 1, 2, 3 …', parseVersionArgument)
    .option('--generation <id>', 'the generation id, which must match', parseIdArgument)
    .option(
      '--content <digest>',
      'what it held before it was replaced: "show" names it',
      parseDigestArgument,
    )
    .option('--all', 'every generation of the project that this host or the cloud still keeps')
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage undelete shop 3
  $ codebegen-storage undelete shop --all`,
    )
    .action(
      async (
        projectId: string,
        version: number | undefined,
        options: UndeleteOptions,
        command: Command,
      ) => {
        const isNarrowed = options.generation !== undefined || options.content !== undefined;
        const given = { all: options.all === true, isNarrowed, takesNo: 'version and no content' };
        const one = versionOrAll(command, version, given);
        if (one === null) await undeleteAll(context, projectId);
        else await undeleteOne(context, projectId, one, options);
      },
    );
}

async function undeleteOne(
  context: CommandContext,
  projectId: string,
  version: number,
  options: UndeleteOptions,
): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const { content: digest } = options;
      const wanted = digest === undefined ? {} : { digest };
      const { ref, undeleted } = await storage.undelete(toRef(projectId, version, options), wanted);
      context.show({ ...ref, undeleted }, () => [
        `${ref.projectId} v${ref.version} ${ref.generationId}: ${
          undeleted ? 'undeleted' : 'was not deleted'
        }`,
      ]);
    },
    { changes: true },
  );
}

async function undeleteAll(context: CommandContext, projectId: string): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const answer = await storage.undeleteProject(projectId);
      context.show(answer, () => [
        `${projectId}: ${answer.undeleted} undeleted${answer.gone === 0 ? '' : `, of ${answer.gone} nothing is kept that can be had now`}`,
      ]);
    },
    { changes: true },
  );
}
