import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ErrorCode, StorageError } from '../contract.ts';

/** What a file system may say of a path, and what it means. */
const STATES: Readonly<Record<string, readonly [state: string, kind: ErrorCode]>> = {
  EMFILE: [
    'cannot be opened: too many files are open. Raise the limit (ulimit -n, LimitNOFILE)',
    'unavailable',
  ],
  ENFILE: ['cannot be opened: too many files are open on this host', 'unavailable'],
  EIO: ['cannot be read or written: the disk fails', 'unavailable'],
  EBUSY: ['is in use', 'unavailable'],
  ENAMETOOLONG: ['is longer than a path may be. Use a shorter one', 'invalid_input'],
  ELOOP: ['leads through too many links, or to one that is not followed', 'invalid_input'],
  EXDEV: ['is on another file system. Mount both as one', 'invalid_input'],
};

/** Whose a path is, or the folder that it is in: mostly one `sudo` made it. Empty where it is nobody else's. */
function ownerOf(path: string): string {
  const own = process.getuid?.();
  for (const at of [path, dirname(path)]) {
    const uid = uidOf(at);
    if (uid !== null && uid !== own) return `; "${at}" is of user ${uid}, this runs as ${own}`;
  }
  return '';
}

function uidOf(path: string): number | null {
  try {
    return statSync(path).uid;
  } catch {
    return null;
  }
}

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);
const NOT_PERMITTED: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS']);

/** Whether a file system says that it is full, or not to be written. */
export function isUnwritable(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  return FULL.has(code) || NOT_PERMITTED.has(code);
}

/** Whether a failure, as it was translated, is that a disk is full. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'disk_full';
}

/** Translates what the file system says, once, where it enters. */
export function fromFileSystem(error: unknown, doing: string): unknown {
  if (error instanceof StorageError) return error;
  const { code = '' } = (error ?? {}) as NodeJS.ErrnoException;
  if (FULL.has(code)) {
    const state = code === 'ENOSPC' ? 'the disk is full' : 'the quota of its user is used up';
    return new StorageError('disk_full', `Cannot ${doing}: ${state}`, { cause: error });
  }
  if (NOT_PERMITTED.has(code)) {
    const path = (error as NodeJS.ErrnoException).path;
    const named = path === undefined ? 'a file' : `"${path}"`;
    const isReadOnly = code === 'EROFS';
    const state = isReadOnly ? 'is on a file system that is read-only' : 'is not permitted';
    const whose = path === undefined || isReadOnly ? '' : ownerOf(path);
    const kind = isReadOnly ? 'read_only' : 'forbidden';
    return new StorageError(kind, `Cannot ${doing}: ${named} ${state} (${code})${whose}`, {
      cause: error,
    });
  }
  const { path = 'a path', syscall } = (error ?? {}) as NodeJS.ErrnoException;
  const [state, kind] = STATES[code] ?? [];
  if (state !== undefined && kind !== undefined) {
    return new StorageError(kind, `Cannot ${doing}: "${path}" ${state} (${code})`, {
      cause: error,
    });
  }
  if (code === 'ENOENT' && syscall === 'mkdir') {
    return new StorageError('invalid_input', `Cannot ${doing}: "${path}" cannot be made (ENOENT)`, {
      cause: error,
    });
  }
  if (code === 'ENOENT') {
    return new StorageError(
      'unavailable',
      `Cannot ${doing}: "${path}" is gone. Somebody else removes files there; where it was the store, put it back and start the agent again`,
      { cause: error },
    );
  }
  if (code === 'ENOTDIR' || code === 'EEXIST' || code === 'EISDIR') {
    return new StorageError('invalid_input', `Cannot ${doing}: "${path}" is in the way (${code})`, {
      cause: error,
    });
  }
  return error;
}
