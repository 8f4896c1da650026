/** The names in an archive: each is the manifest, a file in one of two folders, or refused. */
import { describe, expect, test } from 'vitest';
import { ArchiveNames, entryNameOf } from '../../functions/_shared/contract/archive-names.ts';
import { DEFAULT_LIMITS } from '../../functions/_shared/contract/limits.ts';

const MANIFEST = '.codebegen/manifest.json';
const PYTHON = 'v1__gen-1';

function readAll(names: readonly string[], archive = new ArchiveNames()) {
  return names.map((name) => archive.read(name));
}

test('what an entry is called, it is read from again', () => {
  const files = [
    { folder: null, path: 'manifest.json' },
    { folder: 'source', path: 'src/main.py' },
    { folder: 'source', path: 'artifacts/a' },
    { folder: 'source', path: 'source/a' },
    { folder: 'source', path: 'manifest.json' },
    { folder: 'artifacts', path: 'logs/build.txt' },
  ] as const;
  const names = files.map(entryNameOf);
  expect(names).toEqual([
    MANIFEST,
    'src/main.py',
    'artifacts/a',
    'source/a',
    'manifest.json',
    '.codebegen/artifacts/logs/build.txt',
  ]);
  expect(readAll(names)).toEqual(files);
});

test('an archive of the Python system has all in one folder, which is left out', () => {
  const names = ['manifest.json', 'source/src/a', 'artifacts/a', 'source/artifacts/a'];
  expect(readAll(names.map((name) => `${PYTHON}/${name}`))).toEqual([
    { folder: null, path: 'manifest.json' },
    { folder: 'source', path: 'src/a' },
    { folder: 'artifacts', path: 'a' },
    { folder: 'source', path: 'artifacts/a' },
  ]);
});

test('of the Python system, what lies where an archive has its own files is passed over, and counted', () => {
  const archive = new ArchiveNames({ ...DEFAULT_LIMITS, entries: 2 });
  const name = `${PYTHON}/source/.codebegen/x`;
  expect(readAll([name, name], archive)).toEqual([null, null]);
  expect(() => archive.read(name)).toThrow(expect.objectContaining({ code: 'too_large' }));
});

test('what is known to be ours is read as such, whatever comes first', () => {
  const ours = new ArchiveNames(DEFAULT_LIMITS, { isOurs: true });
  expect(readAll([`${PYTHON}/source/a`], ours)).toEqual([
    { folder: 'source', path: `${PYTHON}/source/a` },
  ]);
  // The manifest is the first entry of an archive that says itself what it is.
  expect(readAll(['a', MANIFEST], new ArchiveNames(undefined, { isOurs: true }))[1]).toEqual({
    folder: null,
    path: 'manifest.json',
  });
});

test('files of the two folders do not clash with each other', () => {
  const names = [MANIFEST, 'a', '.codebegen/artifacts/a', '.codebegen/artifacts/A/b'];
  expect(() => readAll(names)).toThrow('"A/b"');
  expect(readAll(names.slice(0, 3))).toHaveLength(3);
});

describe('refused by its name', () => {
  test.each([
    ['a first entry that is neither', ['a/b'], 'begins with'],
    ['a first entry without a folder', ['source'], 'begins with'],
    ['a second manifest', [MANIFEST, MANIFEST], 'twice'],
    [
      'a second manifest of Python',
      [`${PYTHON}/manifest.json`, `${PYTHON}/manifest.json`],
      'twice',
    ],
    ['what lies beside the folder', [`${PYTHON}/manifest.json`, `${PYTHON}2/source/a`], 'beside'],
    ['what is in neither part', [`${PYTHON}/manifest.json`, `${PYTHON}/other/a`], 'no part'],
    ['a file called as a part', [`${PYTHON}/manifest.json`, `${PYTHON}/artifacts`], 'no part'],
    [
      'a part that only begins alike',
      [`${PYTHON}/manifest.json`, `${PYTHON}/sources/a`],
      'no part',
    ],
    ['a way out of the source', [MANIFEST, '../a'], '".."'],
    ['a way out of the artifacts', [MANIFEST, '.codebegen/artifacts/../../a'], '".."'],
    ['a way out, of Python', [`${PYTHON}/source/../../a`], '".."'],
    ['an absolute path', [MANIFEST, '/etc/passwd'], 'absolute'],
    ['what is reserved', [MANIFEST, '.codebegen/x'], 'archive'],
    ['one name twice', [MANIFEST, 'a', 'a'], 'twice'],
    ['one artifact twice', [MANIFEST, '.codebegen/artifacts/a', '.codebegen/artifacts/a'], 'twice'],
  ])('%s', (_, names, why) => {
    const archive = new ArchiveNames();
    readAll(names.slice(0, -1), archive);
    expect(() => archive.read(names.at(-1)!)).toThrow(
      expect.objectContaining({ code: 'invalid_input', message: expect.stringContaining(why) }),
    );
  });
});

test('so many entries, and no more', () => {
  const archive = new ArchiveNames({ ...DEFAULT_LIMITS, entries: 2 });
  archive.passOver();
  archive.passOver();
  expect(() => archive.passOver()).toThrow(expect.objectContaining({ code: 'too_large' }));
});
