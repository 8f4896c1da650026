import type { Command } from 'commander';
import { MOST_DAYS, type Span } from '../read/stats.ts';
import { parseCountArgument } from './arguments.ts';
import { type CommandContext, formatBytes, formatTable } from './context.ts';

const DEFAULT_DAYS = 30;

export function addStats(program: Command, context: CommandContext): void {
  program
    .command('stats')
    .description('show what was done day by day: saves, uploads, bytes, durations, failures')
    .option(
      '--days <n>',
      `so many, today last; ${MOST_DAYS} at most`,
      parseCountArgument,
      DEFAULT_DAYS,
    )
    .addHelpText(
      'after',
      `
Days are those of UTC. What is counted lies in the catalog: where that is lost it begins anew.

Examples:
  $ codebegen-storage stats
  $ codebegen-storage stats --days 365 --json`,
    )
    .action(async ({ days }: { days: number }) => {
      await context.withStorage(
        async (storage) => {
          const items = storage.stats(days);
          context.show({ days: items }, () => describe(items));
        },
        { anyway: true },
      );
    });
}

/** Days without anything are left out, but today. */
function describe(items: readonly Span[]): string[] {
  const shown = items.filter(
    (day, i) =>
      i === items.length - 1 || day.saves + day.uploads + day.failures + day.deletions > 0,
  );
  return formatTable(
    [
      'DAY',
      'SAVES',
      'BYTES',
      'MS',
      'LONGEST',
      'UPLOADS',
      'BYTES',
      'MS',
      'LONGEST',
      'FAILED',
      'DELETED',
    ],
    shown.map((day) => [
      day.from.slice(0, 10),
      String(day.saves),
      formatBytes(day.savedBytes),
      meanOf(day.saveMs, day.saves),
      String(day.longestSaveMs),
      String(day.uploads),
      formatBytes(day.uploadedBytes),
      meanOf(day.uploadMs, day.uploads),
      String(day.longestUploadMs),
      String(day.failures),
      String(day.deletions),
    ]),
  );
}

function meanOf(sum: number, count: number): string {
  return count === 0 ? '-' : String(Math.round(sum / count));
}
