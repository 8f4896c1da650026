import type { Command } from 'commander';
import type { CommandContext } from './context.ts';

const MARKS = {
  pass: { colour: 'green', mark: '✓' },
  warn: { colour: 'yellow', mark: '!' },
  fail: { colour: 'red', mark: '✗' },
} as const;

export function addDoctor(program: Command, context: CommandContext): void {
  program
    .command('doctor')
    .description('check the installation: configuration, folders, and the whole way to the cloud')
    .option('--fix', 'close store and cache for other users of this host')
    .addHelpText(
      'after',
      `
Exits with 1 where a check fails. It leaves nothing behind, and changes nothing without --fix.

Examples:
  $ codebegen-storage doctor
  $ codebegen-storage doctor --json`,
    )
    .action(async (options: { fix?: boolean }) => {
      const { diagnose } = await import('../doctor/doctor.ts');
      const diagnosis = await diagnose(context.readEnvironment(), {
        fix: options.fix === true,
      });
      context.show(diagnosis, () =>
        diagnosis.checks.flatMap(({ name, status, why, whatToDo }) => {
          const { colour, mark } = MARKS[status];
          return [
            `${context.paint(colour, mark)} ${name.padEnd(13)} ${why}`,
            ...(whatToDo === null ? [] : [`  ${' '.repeat(13)} → ${whatToDo}`]),
          ];
        }),
      );
      if (!diagnosis.ok) context.exitCode = 1;
    });
}
