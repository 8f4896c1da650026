/**
 * Opens what lies in a folder that anybody may have filled: by descriptor, and never through a link.
 * A name is looked up anew each time it is used, so it is what was opened that is looked at.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { type FileHandle, lstat, open, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromFileSystem } from './file-errors.ts';

/** Why a path is not read. */
export type Unreadable = 'missing' | 'a symbolic link' | 'no regular file';

/** Thrown where a path names no regular file that lies where it seems to. */
export class NotAFile extends Error {
  override readonly name = 'NotAFile';
  readonly problem: Unreadable;

  constructor(path: string, problem: Unreadable) {
    super(`"${path}" is ${problem}`);
    this.problem = problem;
  }
}

/** Refuses a link in any part of a path: `sys/fcntl.h` of macOS, not among Node's constants. */
const O_NOFOLLOW_ANY = 0x20000000;
const HAS_NOFOLLOW_ANY = process.platform === 'darwin';
/** Nothing is waited for: of a FIFO that nobody writes to it would be for ever. */
const FLAGS =
  constants.O_RDONLY |
  constants.O_NONBLOCK |
  (HAS_NOFOLLOW_ANY ? O_NOFOLLOW_ANY : constants.O_NOFOLLOW);

/** What of a file is looked at. */
type Looked = { isFile(): boolean; isSymbolicLink(): boolean; dev: number; ino: number };

/**
 * Opens a regular file below a folder. No part of its path below that is a link.
 *
 * @param root the folder: absolute, and its own real path
 * @param path relative to it
 * @returns the descriptor, which the caller closes
 * @throws NotAFile; StorageError, what the file system says of a file that is one
 */
export function openInside(root: string, path: string): number {
  const file = join(root, path);
  return opening(file, () => {
    // First by its name: a device may do something when it is opened.
    checkKind(file, lstatSync(file));
    const fd = openSync(file, FLAGS);
    try {
      const opened = fstatSync(fd);
      checkKind(file, opened);
      if (!liesWhereItSeems(fd, file, root, opened)) throw new NotAFile(file, 'a symbolic link');
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  });
}

/** As {@link openInside}, where the event loop does not wait for the disk. */
export async function openFileInside(root: string, path: string): Promise<FileHandle> {
  const file = join(root, path);
  try {
    checkKind(file, await lstat(file));
    const handle = await open(file, FLAGS);
    try {
      const opened = await handle.stat();
      checkKind(file, opened);
      const isThere = await liesWhereItSeemsLater(handle.fd, file, root, opened);
      if (!isThere) throw new NotAFile(file, 'a symbolic link');
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    throw asNotAFile(file, error);
  }
}

function opening<T>(file: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw asNotAFile(file, error);
  }
}

function checkKind(file: string, looked: Looked): void {
  if (looked.isSymbolicLink()) throw new NotAFile(file, 'a symbolic link');
  if (!looked.isFile()) throw new NotAFile(file, 'no regular file');
}

const PROBLEMS: Readonly<Record<string, Unreadable>> = {
  ENOENT: 'missing',
  // A part of the path is a file.
  ENOTDIR: 'missing',
  ELOOP: 'a symbolic link',
  // A socket, or a device without a driver.
  ENXIO: 'no regular file',
};

function asNotAFile(file: string, error: unknown): unknown {
  const problem = PROBLEMS[(error as NodeJS.ErrnoException).code ?? ''];
  return problem === undefined
    ? fromFileSystem(error, `read "${file}"`)
    : new NotAFile(file, problem);
}

/** Whether what was opened lies at its path, and not where a link in the middle of that led. */
function liesWhereItSeems(fd: number, file: string, root: string, opened: Looked): boolean {
  if (HAS_NOFOLLOW_ANY) return true;
  const target = orNull(() => readlinkSync(`/proc/self/fd/${fd}`));
  if (target !== null) return target === file;
  // Without /proc each part is looked at, and whether they lead to what was opened.
  const hasLink = foldersOf(file, root).some((folder) => lstatSync(folder).isSymbolicLink());
  return !hasLink && isSame(statSync(file), opened);
}

async function liesWhereItSeemsLater(
  fd: number,
  file: string,
  root: string,
  opened: Looked,
): Promise<boolean> {
  if (HAS_NOFOLLOW_ANY) return true;
  const target = await readlink(`/proc/self/fd/${fd}`).catch(() => null);
  if (target !== null) return target === file;
  const folders = await Promise.all(foldersOf(file, root).map((folder) => lstat(folder)));
  const hasLink = folders.some((folder) => folder.isSymbolicLink());
  return !hasLink && isSame(await stat(file), opened);
}

/** The folders between a file and the one below which it is looked for. */
function foldersOf(file: string, root: string): string[] {
  const folders: string[] = [];
  for (let folder = dirname(file); folder.length > root.length; folder = dirname(folder)) {
    folders.push(folder);
  }
  return folders;
}

function isSame(a: Looked, b: Looked): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function orNull<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
