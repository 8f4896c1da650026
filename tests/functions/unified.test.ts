/** What a change looks like in the words of git, and how much of finding it is too much. */
import { expect, test } from 'vitest';
import { countLines, formatUnified, type Text } from '../../functions/_shared/unified.ts';

const text = (content: string, mode = 0o644): Text => ({ text: content, mode });

test.each<[string, Text | null, Text | null, string]>([
  [
    'a new file that can be run',
    null,
    text('x\n', 0o755),
    'new file mode 100755\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,1 @@\n+x\n',
  ],
  ['an empty new file', null, text(''), 'new file mode 100644\n'],
  ['an empty file that went', text('', 0o755), null, 'deleted file mode 100755\n'],
  [
    'a file that went',
    text('x\n'),
    null,
    'deleted file mode 100644\n--- a/a\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n',
  ],
  ['one that can be run', text('x\n'), text('x\n', 0o755), 'old mode 100644\nnew mode 100755\n'],
  [
    'one that cannot any more',
    text('', 0o700),
    text('', 0o644),
    'old mode 100755\nnew mode 100644\n',
  ],
  [
    'content and mode',
    text('x\n'),
    text('y', 0o755),
    'old mode 100644\nnew mode 100755\n--- a/a\n+++ b/a\n@@ -1,1 +1,1 @@\n-x\n+y\n\\ No newline at end of file\n',
  ],
])('%s', (_, from, to, expected) => {
  expect(formatUnified([{ path: 'a', from, to }])).toBe(`diff --git a/a b/a\n${expected}`);
});

test('what git knows nothing of is nothing', () => {
  const same = { path: 'a', from: text('x\n'), to: text('x\n') };
  expect(formatUnified([same, { ...same, to: text('x\n', 0o600) }])).toBe('');
  expect(formatUnified([])).toBe('');
});

test('three lines stand around a change', () => {
  const before = Array.from({ length: 20 }, (_, i) => `${i}\n`).join('');
  const patch = formatUnified([
    { path: 'a', from: text(before), to: text(before.replace('10\n', 'ten\n')) },
  ]);
  expect(patch.split('\n').slice(3)).toEqual(
    '@@ -8,7 +8,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n'.split('\n'),
  );
});

test('the lines of both sides are counted, of a side that is not there none', () => {
  expect(countLines({ from: text('a\nb\n'), to: text('') })).toBe(4);
  expect(countLines({ from: null, to: text('a') })).toBe(1);
  expect(countLines({ from: text('a'), to: null })).toBe(1);
});

const LINES = 3000;
const before = Array.from({ length: LINES }, (_, i) => `same ${i}\n`).join('');

/** So many lines are others, of which no two stand together. */
function withOthers(count: number) {
  const lines = Array.from({ length: LINES }, (_, i) =>
    i % 2 === 0 && i < 2 * count ? `other ${i}\n` : `same ${i}\n`,
  );
  return { path: 'a', from: text(before), to: text(lines.join('')) };
}

/** Lines that each file's patch takes away. */
const removedBy = (...changes: ReturnType<typeof withOthers>[]) =>
  formatUnified(changes)
    .split('diff --git')
    .slice(1)
    .map((patch) => patch.split('\n').filter((line) => line.startsWith('-same')).length);

test('edits × (edits + lines) is ten million at most, else all is replaced', () => {
  // A line that is another is two edits; each side has 3 001 lines, with the empty one.
  expect(removedBy(withOthers(679))).toEqual([679]);
  expect(removedBy(withOthers(680))).toEqual([LINES]);
});

test('what one file took is not there for the next', () => {
  expect(removedBy(withOthers(600), withOthers(109))).toEqual([600, 109]);
  expect(removedBy(withOthers(600), withOthers(110))).toEqual([600, LINES]);
  // What was given up took all that there was.
  expect(removedBy(withOthers(680), withOthers(1))).toEqual([LINES, LINES]);
  // What is new, or went, takes nothing.
  const made = { ...withOthers(0), from: null } as unknown as ReturnType<typeof withOthers>;
  expect(removedBy(made, withOthers(679))).toEqual([0, 679]);
});

test('what is replaced whole says so by its numbers, also where one side has no line', () => {
  const hunkOf = (from: string, to: string) =>
    formatUnified([{ path: 'a', from: text(from), to: text(to) }]).match(/^@@.*@@$/gm);
  const others = before.replaceAll('same', 'other');
  expect(hunkOf(before, others)).toEqual(['@@ -1,3000 +1,3000 @@']);
  expect(hunkOf('', before)).toEqual(['@@ -0,0 +1,3000 @@']);
  expect(hunkOf(before, '')).toEqual(['@@ -1,3000 +0,0 @@']);
});
