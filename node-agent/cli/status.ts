import type { Command } from 'commander';
import type { DiskSpace } from '../storage/status.ts';
import { type CommandContext, formatBytes } from './context.ts';

/** How long a scan that a start began is waited for, in milliseconds: mostly that is all of it. */
const SCAN_WAIT_MS = 1000;

export function addStatus(program: Command, context: CommandContext): void {
  program
    .command('status')
    .description('show how many generations there are and what is owed to the cloud')
    .addHelpText(
      'after',
      `
Example:
  $ codebegen-storage status --json`,
    )
    .action(async () => {
      await context.withStorage(
        async (storage) => {
          await storage.scanned(SCAN_WAIT_MS);
          const status = await storage.status();
          const counts = Object.entries(status.generations);
          context.show(status, () => [
            `store        ${status.storePath}`,
            `disk         ${formatDisk(status.disk)}`,
            `cloud        ${status.cloud.enabled ? `${status.cloud.url}, bucket "${status.cloud.bucket}"` : 'off'}`,
            `generations  ${counts.map(([name, count]) => `${count} ${name}`).join(', ') || 'none'}`,
            `outbox       ${status.outbox.owed} owed, ${status.outbox.parked} parked`,
            ...(status.outbox.reason === null ? [] : [`paused       ${status.outbox.reason}`]),
            ...(status.scan === null
              ? []
              : [
                  `scan         ${status.scan.read} of ${status.scan.projects} projects are read from the disk so far`,
                ]),
          ]);
        },
        { anyway: true },
      );
    });
}

function formatDisk(disk: DiskSpace | null): string {
  if (disk === null) return 'it cannot be asked';
  const { freeBytes, bytes, freeInodes } = disk;
  const inodes = freeInodes === null ? '' : `, ${freeInodes} inodes free`;
  return `${formatBytes(freeBytes)} of ${formatBytes(bytes)} free${inodes}`;
}
