/** What the file system and SQLite may say, and what is made of it: no operator reads `internal` for a disk. */
import { chownSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fromSqlite } from '../../node-agent/catalog/errors.ts';
import { StorageError } from '../../node-agent/contract.ts';
import { fromFileSystem } from '../../node-agent/disk/file-errors.ts';
import { tempFolder } from '../support/temp.ts';

const failure = (code: string, path = '/srv/store/p') =>
  Object.assign(new Error(`${code}: x, open '${path}'`), { code, path, syscall: 'open' });

test.each([
  ['ENOSPC', 'disk_full', 'the disk is full'],
  ['EDQUOT', 'disk_full', 'the quota of its user is used up'],
  ['EROFS', 'read_only', '"/srv/store/p" is on a file system that is read-only (EROFS)'],
  ['EACCES', 'forbidden', '"/srv/store/p" is not permitted (EACCES)'],
  ['EPERM', 'forbidden', '"/srv/store/p" is not permitted (EPERM)'],
  ['EIO', 'unavailable', 'the disk fails'],
  ['EMFILE', 'unavailable', 'ulimit -n'],
  ['ENFILE', 'unavailable', 'on this host'],
  ['EBUSY', 'unavailable', 'is in use'],
  ['ENOENT', 'unavailable', 'is gone'],
  ['ENAMETOOLONG', 'invalid_input', 'longer than a path'],
  ['ELOOP', 'invalid_input', 'links'],
  ['EXDEV', 'invalid_input', 'another file system'],
  ['ENOTDIR', 'invalid_input', 'in the way'],
  ['EISDIR', 'invalid_input', 'in the way'],
  ['EEXIST', 'invalid_input', 'in the way'],
])('%s is %s', (code, kind, why) => {
  const error = fromFileSystem(failure(code), 'save p v1');
  expect(error).toBeInstanceOf(StorageError);
  expect(error).toMatchObject({ code: kind, message: expect.stringContaining(why) });
  expect((error as Error).message).toMatch(/^Cannot save p v1: /);
});

test.each([
  [8, 'forbidden'],
  [10, 'unavailable'],
  // With what went wrong in its upper bytes.
  [10 | (3 << 8), 'unavailable'],
  [11, 'corrupt'],
  [13, 'disk_full'],
  [14, 'forbidden'],
  [26, 'corrupt'],
])('SQLite %i is %s', (errcode, code) => {
  const error = Object.assign(new Error('x'), { code: 'ERR_SQLITE_ERROR', errcode });
  expect(fromSqlite(error, join(tmpdir(), 'catalog.sqlite'))).toMatchObject({ code });
});

test.skipIf(process.getuid?.() !== 0)('whose a path is that is not permitted is told', async () => {
  const folder = await tempFolder();
  const path = join(folder, 'file');
  writeFileSync(path, '');
  chownSync(path, 12_345, 12_345);
  const { message } = fromFileSystem(failure('EACCES', path), 'save') as Error;
  expect(message).toContain(`"${path}" is of user 12345, this runs as 0`);
  const mine = fromFileSystem(failure('EACCES', join(folder, 'other')), 'save') as Error;
  expect(mine.message).not.toContain('is of user');
});
