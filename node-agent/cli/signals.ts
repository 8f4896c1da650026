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
