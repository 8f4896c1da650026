import { formatPatch, type StructuredPatch, structuredPatch } from 'diff';

/** One side of a change: permission bits, and the whole text. */
export type Text = Readonly<{ mode: number; text: string }>;

/** A file that changed; `null` is where it is not there. */
export type TextChange = Readonly<{ path: string; from: Text | null; to: Text | null }>;

/**
 * Finding the shortest difference takes `edits × (edits + lines)` steps at the worst (Myers 1986).
 * So many are made in all; what differs by more is shown as replaced whole.
 */
const EFFORT = 10_000_000;

/**
 * Writes what changed as `git diff` does, so that `git apply` and `patch -p1` take it.
 *
 * @returns an empty text where nothing changed that git knows of: it knows one bit of modes
 */
export function formatUnified(changes: readonly TextChange[]): string {
  let effort = EFFORT;
  return changes
    .map((change) => {
      const lines = countLines(change);
      // The most edits for which edits × (edits + lines) is no more than the effort left.
      const maxEdits = Math.floor((Math.sqrt(lines ** 2 + 4 * effort) - lines) / 2);
      const patch = findPatch(change, maxEdits);
      effort -= Math.min(effort, patch.edits * (patch.edits + lines));
      const { isCreate, isDelete, newMode, hunks } = patch;
      const isNothing = !isCreate && !isDelete && newMode === undefined && hunks.length === 0;
      return isNothing ? '' : formatPatch(patch);
    })
    .join('');
}

function findPatch({ path, from, to }: TextChange, maxEditLength: number) {
  const names = [`a/${path}`, `b/${path}`] as const;
  const texts = [from?.text ?? '', to?.text ?? ''] as const;
  const whole = from === null || to === null;
  const found = structuredPatch(
    ...([from === null ? '/dev/null' : names[0], to === null ? '/dev/null' : names[1]] as const),
    ...texts,
    undefined,
    undefined,
    { context: 3, ...(whole ? {} : { maxEditLength }) },
  );
  const patch = found ?? replaceWhole(names, texts);
  const modes = { oldMode: gitMode(from), newMode: gitMode(to) };
  return {
    ...patch,
    isGit: true as const,
    ...(from === null ? { isCreate: true, newMode: modes.newMode } : {}),
    ...(to === null ? { isDelete: true, oldMode: modes.oldMode } : {}),
    ...(whole || modes.oldMode === modes.newMode ? {} : modes),
    edits: whole ? 0 : found === undefined ? maxEditLength : countEdits(patch),
  };
}

/** Lines of both sides. */
export function countLines({ from, to }: Pick<TextChange, 'from' | 'to'>): number {
  return (from?.text.split('\n').length ?? 0) + (to?.text.split('\n').length ?? 0);
}

function replaceWhole(
  names: readonly [string, string],
  [before, after]: readonly [string, string],
): StructuredPatch {
  const removed = structuredPatch(...names, before, '').hunks[0];
  const added = structuredPatch(...names, '', after).hunks[0];
  const hunk = {
    oldStart: 1,
    oldLines: removed?.oldLines ?? 0,
    newStart: 1,
    newLines: added?.newLines ?? 0,
    lines: [...(removed?.lines ?? []), ...(added?.lines ?? [])],
  };
  return { ...structuredPatch(...names, '', ''), hunks: [hunk] };
}

function countEdits(patch: StructuredPatch): number {
  return patch.hunks.flatMap((hunk) => hunk.lines).filter((line) => /^[-+]/.test(line)).length;
}

/** Git knows two kinds of files. */
function gitMode(file: Text | null): string {
  return file !== null && (file.mode & 0o100) !== 0 ? '100755' : '100644';
}
