import { describe, expect, test } from 'vitest';
import {
  foldId,
  isId,
  isVersion,
  parseId,
  parseVersion,
} from '../../functions/_shared/contract/ids.ts';
import { objectKey, parseObjectKey } from '../../functions/_shared/contract/object-key.ts';
import {
  folderName,
  formatRef,
  notFound,
  parseFolderName,
} from '../../functions/_shared/contract/ref.ts';

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
    expect(() => parseId(id, 'project id')).toThrow(
      `${JSON.stringify(id) ?? 'nothing'} as project id`,
    );
  });
  test('is the same in upper and lower case', () => expect(foldId('Ab-C')).toBe('ab-c'));
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
    undefined,
    '12345678901',
    'x1',
    '1x',
  ])('may not be %j', (version) => {
    expect(() => parseVersion(version)).toThrow(
      `${JSON.stringify(version) ?? 'nothing'} as version`,
    );
  });
  test('in digits is one only where it is read', () => expect(isVersion('1')).toBe(false));
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
  test('is read from the key of its object', () => {
    expect(parseObjectKey(objectKey(ref))).toEqual(ref);
    expect(parseObjectKey(objectKey(ref, 'a'.repeat(64)))).toEqual(ref);
    expect(parseObjectKey(`abc-123/generations/v7__gen-456.${'0'.repeat(64)}.tar.gz`)).toEqual(ref);
  });
  test.each([
    '',
    'abc-123',
    'abc-123/generations/v7__gen-456',
    'abc-123/generations/v7__gen-456.tar.gz.part',
    'abc-123/generations/v7__gen-456.tar.gz/x',
    'abc-123/generations/x/v7__gen-456.tar.gz',
    'abc-123/Generations/v7__gen-456.tar.gz',
    'abc-123/generations/active.tar.gz',
    'abc-123/generations/v7__gen-456.aaaaaaaaaaa.tar.gz',
    `abc-123/generations/v7__gen-456.${'0'.repeat(65)}.tar.gz`,
    'abc-123/generations/v7__gen-456.AAAAAAAAAAAA.tar.gz',
    'abc-123/generations/\nv7__gen-456.tar.gz',
    '../generations/v7__gen-456.tar.gz',
    '/generations/v7__gen-456.tar.gz',
    'x/abc-123/generations/v7__gen-456.tar.gz',
  ])('is not read from the key %j', (key) => expect(parseObjectKey(key)).toBeNull());
  test('is named in messages, and so is a project', () => {
    expect(formatRef(ref)).toBe('"abc-123 v7"');
    expect(notFound(ref)).toMatchObject({
      code: 'not_found',
      message: 'Cannot find "abc-123 v7"',
    });
    expect(notFound({ projectId: 'abc-123' }).message).toBe('Cannot find "abc-123"');
  });
  test.each([
    'xv1__a',
    'v1__a\n',
    'active',
    'v__a',
    'v0__a',
    'v01__a',
    'v1_a',
    'v1__',
    'v1__.x',
    'v1__a.tar.gz',
  ])('is not read from %s', (name) => expect(parseFolderName(name)).toBeNull());
});
