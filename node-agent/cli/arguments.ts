import { type Command, InvalidArgumentError } from 'commander';
import { isDigest, isId, parseVersion, StorageError } from '../contract.ts';
import type { RefInput } from '../read/find.ts';
import { parseOwner } from '../save/request.ts';
import { EXIT_USAGE } from './exit-codes.ts';

/** Adds the arguments that name a generation: `PROJECT VERSION [--generation ID]`. */
export function addRefArguments(command: Command): Command {
  return command
    .argument('<project>', 'project id', parseIdArgument)
    .argument('<version>', 'version: 1, 2, 3 …', parseVersionArgument)
    .option('--generation <id>', 'the generation id, which must match', parseIdArgument);
}

export function toRef(
  projectId: string,
  version: number,
  options: { generation?: string },
): RefInput {
  return {
    projectId,
    version,
    ...(options.generation === undefined ? {} : { generationId: options.generation }),
  };
}

/**
 * Which version a command is about; `null`: all of the project, which `--all` says in the place of a version.
 *
 * @param isNarrowed whether something else says which one, that `--all` takes not
 */
export function versionOrAll(
  command: Command,
  version: number | undefined,
  { all, isNarrowed, takesNo }: { all: boolean; isNarrowed: boolean; takesNo: string },
): number | null {
  const fail = (problem: string) => command.error(`error: ${problem}`, { exitCode: EXIT_USAGE });
  if (!all) return version ?? fail('a version is missing, or --all for the whole project');
  return version === undefined && !isNarrowed ? null : fail(`--all takes no ${takesNo}`);
}

export function parseIdArgument(text: string): string {
  if (isId(text)) return text;
  throw new InvalidArgumentError(
    'An id has 1 to 128 letters, digits, "_" or "-" and begins with a letter or digit',
  );
}

export function parseVersionArgument(text: string): number {
  return asArgument(() => parseVersion(text));
}

export function parseOwnerArgument(text: string): string {
  return asArgument(() => parseOwner(text));
}

/** A whole number of at least one. */
export function parseCountArgument(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('A whole number from 1');
}

/** `12h`, `30d`: in milliseconds. */
export function parseTimeArgument(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,5})([hd])$/.exec(text) ?? [];
  if (unit === '') throw new InvalidArgumentError('A number of hours or days, as in 12h or 30d');
  return Number(count) * (unit === 'h' ? 3_600_000 : 86_400_000);
}

/** What a parser of ours refuses is a mistake in the command. */
export function asArgument<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof StorageError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

/** @throws InvalidArgumentError */
export function parseDigestArgument(text: string): string {
  if (isDigest(text)) return text;
  throw new InvalidArgumentError('a digest has 64 hexadecimal digits');
}
