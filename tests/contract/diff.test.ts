/** How two lists of files differ. */
import { expect, test } from 'vitest';
import { diffFiles } from '../../functions/_shared/contract/diff.ts';

const file = (path: string, content = 'x', mode = 0o644) => ({
  ...{ path, size: 1, mode },
  sha256: content.repeat(64),
});

test('a file is added, removed, modified or unchanged, by its hash and its mode', () => {
  const from = [file('gone'), file('same'), file('text'), file('mode')];
  const to = [file('mode', 'x', 0o755), file('text', 'y'), file('new'), file('same')];
  expect(diffFiles(from, to)).toEqual({
    added: [file('new')],
    removed: [file('gone')],
    modified: [
      { path: 'mode', from: file('mode'), to: file('mode', 'x', 0o755) },
      { path: 'text', from: file('text'), to: file('text', 'y') },
    ],
    unchanged: [file('same')],
  });
});

test('each list is ordered by the bytes of the paths, whatever the order was', () => {
  const paths = ['b', 'a', 'é', 'B', '\u{1f600}', '\uffff'];
  const sorted = ['B', 'a', 'b', 'é', '\uffff', '\u{1f600}'];
  const files = paths.map((path) => file(path));
  const pathsOf = (list: readonly { path: string }[]) => list.map(({ path }) => path);
  expect(pathsOf(diffFiles([], files).added)).toEqual(sorted);
  expect(pathsOf(diffFiles(files, []).removed)).toEqual(sorted);
  expect(pathsOf(diffFiles(files, files).unchanged)).toEqual(sorted);
  const others = files.map(({ path }) => file(path, 'y'));
  expect(pathsOf(diffFiles(files, others).modified)).toEqual(sorted);
});
