import { closeSync, fstatSync, readSync, type Stats } from 'node:fs';
import { StorageError } from '../contract.ts';
import { fromFileSystem } from './file-errors.ts';
import { openInside } from './open-inside.ts';

/** Where a file lies: below a folder that is its own real path. */
export type Place = Readonly<{ root: string; path: string }>;

const READ_BYTES = 256 * 1024;

/** Thrown where a file is not, at its end, what it was when it was opened. */
export class ChangedWhileRead extends Error {
  override readonly name = 'ChangedWhileRead';

  constructor(path: string) {
    super(`"${path}" is not what it was`);
  }
}

/**
 * Reads a file in pieces, each good until the next one: they share a buffer, for large files are many.
 *
 * @param look told what it is, before the first piece
 * @throws NotAFile, ChangedWhileRead; StorageError, what the file system says
 */
export function* readPieces(
  { root, path }: Place,
  look: (stat: Stats) => void = () => {},
): Generator<Uint8Array, void> {
  const fd = openInside(root, path);
  let buffer: Buffer | null = null;
  try {
    const before = fstatSync(fd);
    look(before);
    // One byte more, to see that there is none.
    buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, before.size + 1));
    let size = 0;
    for (;;) {
      const read = readSync(fd, buffer);
      if (read === 0) break;
      size += read;
      if (size > before.size) throw new ChangedWhileRead(path);
      yield buffer.subarray(0, read);
    }
    const after = fstatSync(fd);
    // Not its ctime: that changes too when another file takes its name, and it is read whole then.
    if (size !== before.size || after.mtimeMs !== before.mtimeMs) throw new ChangedWhileRead(path);
  } catch (error) {
    throw fromFileSystem(error, `read "${path}"`);
  } finally {
    // Given back at once: the garbage collector lets 64 MB of such memory pile up.
    (buffer?.buffer as ArrayBuffer | undefined)?.transfer(0);
    closeSync(fd);
  }
}

/** The manifest of 20 000 files with the longest names has 90 MB. */
const MAX_TEXT_BYTES = 128 * 1024 * 1024;

/**
 * Reads a small file of the store's own, where somebody may have put anything in its place.
 *
 * @throws NotAFile; StorageError `corrupt` where it is larger than any such file
 */
export function readText({ root, path }: Place): string {
  const pieces: Buffer[] = [];
  const look = ({ size }: Stats) => {
    if (size <= MAX_TEXT_BYTES) return;
    throw new StorageError('corrupt', `Cannot read "${path}": over ${MAX_TEXT_BYTES} bytes`);
  };
  for (const piece of readPieces({ root, path }, look)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces).toString();
}
