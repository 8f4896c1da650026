import type { Command } from 'commander';
import type { CommandContext } from './context.ts';
import { onStop } from './signals.ts';

export function addStart(program: Command, context: CommandContext): void {
  program
    .command('start')
    .description('run the daemon: the HTTP API for generators, uploads, clean-up')
    .addHelpText(
      'after',
      `
Example:
  $ AGENT_PORT=8787 codebegen-storage start`,
    )
    .action(async () => {
      // Other commands start without what only the daemon needs.
      const { createLogger, logEvents } = await import('../daemon/log.ts');
      const { createMetrics } = await import('../daemon/metrics.ts');
      const { serve } = await import('../daemon/serve.ts');
      const stopped = Promise.withResolvers<'SIGINT' | 'SIGTERM'>();
      const ended = Promise.withResolvers<number>();
      onStop((signal) => {
        stopped.resolve(signal);
        return ended.promise;
      });
      const { logLevel } = context.readConfig().daemon;
      const log = createLogger(logLevel);
      const logLine = logEvents(log);
      const metrics = createMetrics();
      await context.withStorage(
        async (storage, { daemon: config }) => {
          const daemon = await serve({ storage, config, log, metrics });
          context.show({ url: daemon.url }, () => [`Listening on ${daemon.url}`]);
          await stopped.promise;
          log.info('stopping: what is under way gets a while to finish');
          await daemon.close();
        },
        {
          changes: true,
          makes: true,
          // It is an event too.
          onProblem: () => {},
          onEvent: (event) => {
            metrics.onEvent(event);
            logLine(event);
          },
        },
      );
      ended.resolve((await stopped.promise) === 'SIGINT' ? 130 : 0);
    });
}
