/**
 * Ends the process in order on Ctrl-C or SIGTERM. To be called before anything is started: a
 * signal during the start waits for it. A second Ctrl-C does not wait.
 *
 * @param close ends what runs; resolves to the exit code
 */
export function onStop(close: (signal: 'SIGINT' | 'SIGTERM') => Promise<number>): void {
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(130);
      stopping = true;
      close(signal).then(
        (code) => process.exit(code),
        () => process.exit(1),
      );
    });
  }
}

/** For a command that looks at whether it is to end. */
export type Stop = Readonly<{
  /** Aborted once the command is to end. */
  signal: AbortSignal;
  /** By what; `null` while it is not to end. */
  by(): 'SIGINT' | 'SIGTERM' | null;
  /** Says that the command ended, and with what exit code. */
  end(code: number): void;
}>;

/** As {@link onStop}: the process ends in order once the command says that it ended. */
export function listenForStop(): Stop {
  const stopped = new AbortController();
  const ended = Promise.withResolvers<number>();
  let by: ReturnType<Stop['by']> = null;
  onStop((signal) => {
    by = signal;
    stopped.abort();
    return ended.promise;
  });
  return { signal: stopped.signal, by: () => by, end: ended.resolve };
}
