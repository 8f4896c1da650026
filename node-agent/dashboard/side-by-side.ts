import { structuredPatch } from 'diff';

/** A row of a diff: a line of each side, or of one. */
export type DiffRow = Readonly<{ left: Line | null; right: Line | null; isSame: boolean }>;
export type Line = Readonly<{ number: number; text: string }>;
export type Hunk = Readonly<{ title: string; rows: readonly DiffRow[] }>;

const CONTEXT = 3;
/** Two texts that have little in common take long: then they are shown one after the other. */
const TIMEOUT_MS = 1500;

/** What changed between two texts, side by side. @returns `null` where it took too long */
export function sideBySide(before: string, after: string): Hunk[] | null {
  const options = { context: CONTEXT, timeout: TIMEOUT_MS };
  const patch = structuredPatch('', '', before, after, undefined, undefined, options);
  return patch?.hunks.map(hunkOf) ?? null;
}

type Raw = Readonly<{
  oldStart: number;
  oldLines: number;
  newStart: number;
  newLines: number;
  lines: readonly string[];
}>;

/** Lines that went stand beside those that came in their place. */
function hunkOf({ oldStart, oldLines, newStart, newLines, lines }: Raw): Hunk {
  const rows: DiffRow[] = [];
  let left: Line[] = [];
  let right: Line[] = [];
  let [from, to] = [oldStart, newStart];
  const end = () => {
    for (let i = 0; i < Math.max(left.length, right.length); i++) {
      rows.push({ left: left[i] ?? null, right: right[i] ?? null, isSame: false });
    }
    [left, right] = [[], []];
  };
  for (const line of lines) {
    const text = line.slice(1);
    if (line.startsWith('-')) left.push({ number: from++, text });
    else if (line.startsWith('+')) right.push({ number: to++, text });
    else if (line.startsWith(' ')) {
      end();
      const both = { left: { number: from++, text }, right: { number: to++, text } };
      rows.push({ ...both, isSame: true });
    }
  }
  end();
  return {
    title: `lines ${oldStart}–${oldStart + oldLines - 1} and ${newStart}–${newStart + newLines - 1}`,
    rows,
  };
}
