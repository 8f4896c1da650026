import { once } from 'node:events';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { untilWritable } from '../storage/until-writable.ts';
import type { CommandContext } from './context.ts';
import { listenForStop } from './signals.ts';
import { readVersion } from './version.ts';

export function addStart(program: Command, context: CommandContext): void {
  program
    .command('start')
    .description('run the daemon: the HTTP API for generators, uploads, clean-up')
    .addHelpText(
      'after',
      `
Where the disk is full, or cannot be written, it serves what is there, and begins to save as soon as it can.

Example:
  $ AGENT_PORT=8787 codebegen-storage start`,
    )
    .action(async () => {
      // Other commands start without what only the daemon needs.
      const { createLogger, logEvents, logStart } = await import('../daemon/log.ts');
      const { createMetrics } = await import('../daemon/metrics.ts');
      const { serve } = await import('../daemon/serve.ts');
      const stop = listenForStop();
      const { signal } = stop;
      const { logLevel } = context.readConfig().daemon;
      const log = createLogger(logLevel);
      const logLine = logEvents(log);
      const metrics = createMetrics();
      const run = async (storage: Storage, config: Config, unwritable: StorageError | null) => {
        // Another user's: nobody waits until it is this one's.
        if (unwritable?.code === 'forbidden') throw unwritable;
        if (unwritable === null) await warnOfLocks(log, config.storePath);
        if (signal.aborted) return;
        const daemon = await serve({ storage, config: config.daemon, log, metrics });
        try {
          logStart(log, { version: readVersion(), url: daemon.url }, config);
          context.show({ url: daemon.url }, () => [`Listening on ${daemon.url}`]);
          if (unwritable !== null) await untilWritable(config.storePath, signal);
          else if (!signal.aborted) await once(signal, 'abort');
          log.info(
            signal.aborted
              ? 'stopping: what is under way gets a while to finish'
              : 'the store can be written again: opening it',
          );
        } finally {
          await daemon.close();
        }
      };
      try {
        while (!signal.aborted) {
          await context.withStorage(run, {
            changes: true,
            makes: true,
            anyway: true,
            prepare: (storage) => storage.makeUrlKey(),
            // It is an event too.
            onProblem: () => {},
            onEvent: (event) => {
              metrics.onEvent(event);
              logLine(event);
            },
          });
        }
      } finally {
        stop.end(stop.by() === 'SIGINT' ? 130 : 0);
      }
    });
}

/** Who runs on such a file system is told each time: two processes could write one file. */
async function warnOfLocks(log: Logger, storePath: string): Promise<void> {
  const { checkLocks } = await import('../doctor/store.ts');
  try {
    const { status, why, whatToDo } = await checkLocks(storePath);
    if (status === 'fail') log.error({ what_to_do: whatToDo }, why);
  } catch (error) {
    // That it cannot be tried is no reason not to serve.
    const reason = error instanceof Error ? error.message : String(error);
    log.warn(`it could not be tried whether locks keep others out: ${reason}`);
  }
}
