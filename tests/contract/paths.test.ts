import { describe, expect, test } from 'vitest';
import { StorageError } from '../../functions/_shared/contract/errors.ts';
import { DEFAULT_LIMITS } from '../../functions/_shared/contract/limits.ts';
import {
  checkPaths,
  comparePaths,
  isReserved,
  pathProblem,
} from '../../functions/_shared/contract/paths.ts';
import { hostilePath, safePath } from '../support/paths.ts';
import { fc } from '../support/properties.ts';

describe('one path', () => {
  test.each([
    'a',
    'app/main.py',
    '.env',
    '.github/workflows/ci.yml',
    '..a',
    'a..',
    '...',
    'ünïcödé/文件.ts',
    'with space.txt',
    'ab:c',
    'emoji😀.md',
    `${'x'.repeat(255)}`,
    `${`${'x'.repeat(200)}/`.repeat(5)}y`,
  ])('%s is taken', (path) => expect(pathProblem(path)).toBeNull());

  test.each([
    ['', 'empty'],
    ['/etc/passwd', 'absolute'],
    ['../x', '".."'],
    ['a/../b', '".."'],
    ['a/..', '".."'],
    ['./a', '"."'],
    ['a/./b', '"."'],
    ['a//b', 'empty part'],
    ['a/', 'empty part'],
    ['a\\b', 'backslash'],
    ['..\\x', 'backslash'],
    ['C:/x', 'drive'],
    ['c:x', 'drive'],
    ['a\0b', 'control'],
    ['a\nb', 'control'],
    ['a\u007fb', 'control'],
    ['a\u0085b', 'control'],
    ['\ud800', 'well-formed'],
    ['x'.repeat(256), '255 bytes'],
    ['ä'.repeat(128), '255 bytes'],
    [`${'x'.repeat(200)}/`.repeat(6), '1024 bytes'],
    [7, 'a string'],
    [null, 'a string'],
  ])('%j is refused: %s', (path, why) => expect(pathProblem(path)).toContain(why));

  test('any safe path is taken', () => {
    fc.assert(fc.property(safePath, (path) => pathProblem(path) === null));
  });
  test('any hostile path is refused', () => {
    fc.assert(fc.property(hostilePath, (path) => pathProblem(path) !== null));
  });
});

describe('what an archive keeps for itself', () => {
  test.each([
    '.codebegen',
    '.codebegen/x',
    '.CODEBEGEN/manifest.json',
    '.CodeBegen/a/b',
    '.code\u200dbegen/x',
    '\uff0ecodebegen/x',
    '.\uff43odebegen/x',
    '.codebe\u200dgen',
  ])('%j is refused', (path) => {
    expect(isReserved(path)).toBe(true);
    expect(() => checkPaths([path])).toThrow(JSON.stringify(path));
  });

  test.each(['a/.codebegen/x', 'codebegen/x', '.codebegenignore', '.codebegen2/x', '..codebegen'])(
    '%j is taken',
    (path) => expect(() => checkPaths([path])).not.toThrow(),
  );
});

describe('paths together', () => {
  test.each([
    [['a', 'a'], 'twice'],
    [['A', 'a'], 'only in case'],
    [['caf\u00e9', 'cafe\u0301'], 'Unicode form'],
    [['stra\u00dfe', 'STRASSE'], 'only in case'],
    [['a', 'a/b'], 'is a file'],
    [['a/b', 'a'], 'also a folder'],
    [['A/b', 'a'], 'also a folder'],
    [['a/b/c', 'a/b'], 'also a folder'],
    [['src/a', 'SRC/b'], 'its folder differs'],
    [['x/Src/a', 'x/src/b'], 'its folder differs'],
  ])('%j are refused: %s', (paths, why) => {
    expect(() => checkPaths(paths)).toThrow(why);
    expect(() => checkPaths(paths)).toThrow(StorageError);
  });
  test('siblings, and names that begin alike, are taken', () => {
    checkPaths(['a/b', 'a/c', 'a.b', 'ab/c', 'a/bc/d', 'a/b.c']);
  });
  test('so many files, and no more', () => {
    const paths = Array.from({ length: 11 }, (_, i) => `f${i}`);
    const limits = { ...DEFAULT_LIMITS, files: 10 };
    checkPaths(paths.slice(1), limits);
    expect(() => checkPaths(paths, limits)).toThrow(expect.objectContaining({ code: 'too_large' }));
  });
  test('so many files and folders, and no more', () => {
    const limits = { ...DEFAULT_LIMITS, entries: 4 };
    // A folder that is known counts once.
    checkPaths(['a/b/c', 'a/b/d'], limits);
    for (const paths of [['a/b/c', 'a/b/d', 'e'], ['a/b/c/d/e']]) {
      expect(() => checkPaths(paths, limits)).toThrow(
        expect.objectContaining({ code: 'too_large' }),
      );
    }
  });
  test('a message shows a path as JSON, and not the whole of a long one', () => {
    expect(() => checkPaths(['a\u001b[31mb'])).toThrow('"a\\u001b[31mb"');
    const messageOf = (path: string) => catchError(() => checkPaths([path])).message;
    expect(messageOf('y'.repeat(5000))).toContain(`"${'y'.repeat(200)}…"`);
    expect(messageOf(`/${'y'.repeat(200)}`)).toContain(`"/${'y'.repeat(199)}…"`);
    expect(messageOf(`/${'y'.repeat(199)}`)).toContain(`"/${'y'.repeat(199)}"`);
    expect(() => checkPaths([7 as unknown as string])).toThrow('"7": a path is a string');
  });
});

test('paths are ordered by their bytes in UTF-8', () => {
  // The first and the last of the surrogates, and what lies around them.
  const all = ['\u0000', 'a', '\ud7ff', '\ue000', '\uffff', '\ud800\udc00', '\udbff\udfff'];
  const bytes = (text: string) => Buffer.from(text);
  for (const a of all) {
    for (const b of all) {
      const expected = Buffer.compare(bytes(a), bytes(b));
      expect(Math.sign(comparePaths(a, b)), JSON.stringify([a, b])).toBe(expected);
      expect(Math.sign(comparePaths(`x${a}`, `x${b}y`))).toBe(
        Buffer.compare(bytes(`x${a}`), bytes(`x${b}y`)),
      );
    }
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
      return Math.sign(comparePaths(a, b)) === expected;
    }),
  );
});

function catchError(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
