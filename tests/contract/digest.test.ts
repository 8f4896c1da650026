import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { digestText } from '../../functions/_shared/contract/digest.ts';
import { fc } from '../support/properties.ts';

const sha = (text: string) => createHash('sha256').update(text).digest('hex');
const entry = (path: string, content = path, mode = 0o644) => ({
  path,
  size: content.length,
  sha256: sha(content),
  mode,
});

test('the text has one line a file, sorted, with the path in the archive', () => {
  expect(digestText([entry('b'), entry('a', 'x', 0o755)], [entry('log')])).toBe(
    `644 ${sha('log')} artifacts/log\n755 ${sha('x')} source/a\n644 ${sha('b')} source/b\n`,
  );
});

test('the order of the files does not count', () => {
  const entries = ['a', 'b/c', 'b', 'Z', 'ä'].map((path) => entry(path));
  fc.assert(
    fc.property(fc.shuffledSubarray(entries, { minLength: entries.length }), (shuffled) => {
      expect(digestText(shuffled)).toBe(digestText(entries));
    }),
  );
});

test('path, content, mode and folder count', () => {
  const texts = [
    digestText([entry('a')]),
    digestText([entry('b', 'a')]),
    digestText([entry('a', 'other')]),
    digestText([entry('a', 'a', 0o755)]),
    digestText([], [entry('a')]),
  ];
  expect(new Set(texts).size).toBe(texts.length);
});
