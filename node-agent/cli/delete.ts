import type { Command } from 'commander';
import { parseIdArgument, parseVersionArgument, toRef, versionOrAll } from './arguments.ts';
import type { CommandContext } from './context.ts';

type DeleteOptions = { generation?: string; all?: boolean };

export function addDelete(program: Command, context: CommandContext): void {
  program
    .command('delete')
    .description('delete a generation, or all of a project: here at once, in the cloud soon after')
    .argument('<project>', 'project id', parseIdArgument)
    .argument('[version]', 'version: 1, 2, 3 …', parseVersionArgument)
    .option('--generation <id>', 'the generation id, which must match', parseIdArgument)
    .option('--all', 'every generation of the project that this host knows of')
    .addHelpText(
      'after',
      `
Examples:
  $ codebegen-storage delete shop 3 --generation gen-456
  $ codebegen-storage delete shop --all`,
    )
    .action(
      async (
        projectId: string,
        version: number | undefined,
        options: DeleteOptions,
        command: Command,
      ) => {
        const isNarrowed = options.generation !== undefined;
        const given = { all: options.all === true, isNarrowed, takesNo: 'version' };
        const one = versionOrAll(command, version, given);
        if (one === null) await deleteAll(context, projectId);
        else await deleteOne(context, projectId, one, options);
      },
    );
}

async function deleteOne(
  context: CommandContext,
  projectId: string,
  version: number,
  options: DeleteOptions,
): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const { ref, deleted } = await storage.delete(toRef(projectId, version, options));
      context.show({ ...ref, status: 'deleted', deleted }, () => [
        `${ref.projectId} v${ref.version} ${ref.generationId}: ${
          deleted ? 'deleted' : 'was deleted already'
        }`,
      ]);
    },
    { changes: true },
  );
}

async function deleteAll(context: CommandContext, projectId: string): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const { deleted } = await storage.deleteProject(projectId);
      context.show({ projectId, status: 'deleted', deleted }, () => [
        `${projectId}: ${deleted === 1 ? '1 generation' : `${deleted} generations`} deleted`,
      ]);
    },
    { changes: true },
  );
}
