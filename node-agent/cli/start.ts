import type { Command } from 'commander';
import { serve } from '../daemon/serve.ts';
import type { CommandContext } from './context.ts';
import { onStop } from './signals.ts';

export function addStart(program: Command, context: CommandContext): void {
  program
    .command('start')
    .description('run the daemon: uploads, clean-up, and downloads by signed URL')
    .addHelpText(
      'after',
      `
Example:
  $ AGENT_PORT=8787 codebegen-storage start`,
    )
    .action(async () => {
      const stopped = Promise.withResolvers<'SIGINT' | 'SIGTERM'>();
      const ended = Promise.withResolvers<number>();
      onStop((signal) => {
        stopped.resolve(signal);
        return ended.promise;
      });
      await context.withStorage(
        async (storage, { daemon: config }) => {
          const daemon = await serve(storage, config, context.onProblem);
          context.show({ url: daemon.url }, () => [`Listening on ${daemon.url}`]);
          await stopped.promise;
          context.say('Stopping: what is under way gets a while to finish');
          await daemon.close();
        },
        { changes: true },
      );
      ended.resolve((await stopped.promise) === 'SIGINT' ? 130 : 0);
    });
}
