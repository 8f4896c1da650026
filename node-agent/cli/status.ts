import type { Command } from 'commander';
import type { CloudAway } from '../catalog/meta.ts';
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
        async (storage, _config, unwritable) => {
          await storage.scanned(SCAN_WAIT_MS);
          const status = await storage.countedStatus();
          const { cloud, outbox, cache } = status;
          const counts = Object.entries(status.generations);
          context.show(status, () => [
            `store        ${status.storePath}`,
            `disk         ${formatDisk(status.disk)}`,
            `daemon       ${status.daemonUrl ?? (unwritable === null ? 'none serves this store by a URL: codebegen-storage start' : 'not known: where nothing can be written none is noted')}`,
            `cache        ${cache.path}: ${cache.copies} copies, ${formatBytes(cache.bytes)} of ${formatBytes(cache.maxBytes)}`,
            `cloud        ${cloud.enabled ? `${cloud.url}, bucket "${cloud.bucket}"` : 'off'}`,
            ...(cloud.away === null ? [] : formatAway(cloud.away)),
            `generations  ${counts.map(([name, count]) => `${count} ${name}`).join(', ') || 'none'}`,
            ...(status.onlyInCloud === 0
              ? []
              : [
                  `              ${status.onlyInCloud} of them in the cloud alone: list PROJECT says which`,
                ]),
            `outbox       ${outbox.owed} owed${outbox.since === null ? '' : `, the oldest since ${outbox.since}`}, ${outbox.parked} parked`,
            ...status.parked.map(
              (job) => `  parked     ${job.projectId} v${job.version}: ${job.failure ?? '-'}`,
            ),
            ...(outbox.parked > status.parked.length
              ? ['  parked     more: codebegen-storage uploads']
              : []),
            ...(status.webhooks.owed + status.webhooks.parked === 0
              ? []
              : [
                  `webhooks     ${status.webhooks.owed} events owed, ${status.webhooks.parked} parked: codebegen-storage webhooks`,
                ]),
            ...(status.scrub === null
              ? []
              : [
                  `scrub        ${status.scrub.checked} read since ${status.scrub.beganAt}, ${status.scrub.damaged} of them were damaged`,
                ]),
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

function formatAway({ cause, since, reason }: CloudAway): string[] {
  const state = cause === 'away' ? 'away' : 'it refuses';
  return [`  ${state.padEnd(11)}since ${since}: ${reason}`];
}

function formatDisk(disk: DiskSpace | null): string {
  if (disk === null) return 'it cannot be asked';
  const { freeBytes, bytes, freeInodes } = disk;
  const inodes = freeInodes === null ? '' : `, ${freeInodes} inodes free`;
  return `${formatBytes(freeBytes)} of ${formatBytes(bytes)} free${inodes}`;
}
