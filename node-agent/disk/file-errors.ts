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

/** Translates what the file system says, once, where it enters. */
export function fromFileSystem(error: unknown, doing: string): unknown {
  if (error instanceof StorageError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StorageError('disk_full', `Cannot ${doing}: the disk is full`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const path = (error as NodeJS.ErrnoException).path ?? 'a file';
    return new StorageError('forbidden', `Cannot ${doing}: "${path}" is not permitted (${code})`, {
      cause: error,
    });
  }
  const { path = 'a path', syscall } = (error ?? {}) as NodeJS.ErrnoException;
  const [state, kind] = STATES[code ?? ''] ?? [];
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
