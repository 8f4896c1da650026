import { describe, expect, test } from 'vitest';
import { isId, parseId, parseVersion } from '../../functions/_shared/contract/ids.ts';
import { objectKey } from '../../functions/_shared/contract/object-key.ts';
import { folderName, parseFolderName } from '../../functions/_shared/contract/ref.ts';

describe('an id', () => {
  test.each([
    'abc-123',
    'gen-456',
    'A',
    '0',
    'a_b',
    'b7f3a1c0-0000-4000-8000-000000000000',
    'x'.repeat(128),
  ])('may be %s', (id) => expect(parseId(id, 'project id')).toBe(id));
  test.each([
    '',
    '-a',
    '_a',
    '.a',
    'a.b',
    'a/b',
    '../a',
    'a b',
    'ä',
    'a\n',
    'x'.repeat(129),
    7,
    null,
    undefined,
  ])('may not be %j', (id) => {
    expect(isId(id)).toBe(false);
    expect(() => parseId(id, 'project id')).toThrow(/project id/);
  });
});

describe('a version', () => {
  test.each([1, 2, 2_147_483_647, '1', '2147483647'])('may be %j', (version) => {
    expect(parseVersion(version)).toBe(Number(version));
  });
  test.each([
    0,
    -1,
    1.5,
    2_147_483_648,
    Number.NaN,
    '0',
    '01',
    '1.0',
    ' 1',
    '1e3',
    '2147483648',
    '',
    null,
  ])('may not be %j', (version) => expect(() => parseVersion(version)).toThrow(/version/));
});

describe('a ref', () => {
  const ref = { projectId: 'abc-123', version: 7, generationId: 'gen-456' };
  test('names its object and its folder', () => {
    expect(objectKey(ref)).toBe('abc-123/generations/v7__gen-456.tar.gz');
    expect(objectKey(ref, 'a'.repeat(64))).toBe(
      'abc-123/generations/v7__gen-456.aaaaaaaaaaaa.tar.gz',
    );
    expect(folderName(ref)).toBe('v7__gen-456');
  });
  test('is read from the name of its folder, also where the id holds underscores', () => {
    expect(parseFolderName('v7__gen-456')).toEqual({ version: 7, generationId: 'gen-456' });
    expect(parseFolderName('v1__a__b')).toEqual({ version: 1, generationId: 'a__b' });
  });
  test.each(['active', 'v__a', 'v0__a', 'v01__a', 'v1_a', 'v1__', 'v1__.x', 'v1__a.tar.gz'])(
    'is not read from %s',
    (name) => expect(parseFolderName(name)).toBeNull(),
  );
});
