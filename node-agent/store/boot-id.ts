import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Names the time since this machine started. A killed process loses nothing that it had written;
 * what was not synced is lost only when the machine stops, and then this is another one.
 */
export function readBootId(): string {
  bootId ??= ask();
  return bootId;
}

/** A process does not outlive it. */
let bootId: string | null = null;

function ask(): string {
  if (process.platform === 'linux') {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  }
  return spawnSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8' }).stdout.trim();
}
