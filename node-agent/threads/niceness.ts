import { readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** By how much the heavy work gives way to the event loop: at 3 a thread weighs half of one at 0. */
const NICENESS = 3;

/**
 * Has the thread that calls this give way to the event loop. On Linux alone a thread has a niceness of
 * its own: elsewhere it is that of the process, and stays.
 */
export function lowerPriority(): void {
  // A filter of system calls may end the process for the call.
  if (process.platform !== 'linux' || isFiltered()) return;
  try {
    setPriority(Math.min(19, getPriority() + NICENESS));
  } catch {
    // A sandbox may forbid it. The work is the same without.
  }
}

/** Whether a filter decides which system calls this process may make; not known counts as that. */
function isFiltered(): boolean {
  try {
    return !/^Seccomp:\t0$/m.test(readFileSync('/proc/self/status', 'utf8'));
  } catch {
    return true;
  }
}
