import { closeSync, openSync, readSync, statSync } from 'node:fs';

/** How a zip begins: with a file, or at once with the end where it has none. */
const ZIP_BEGINNINGS: readonly string[] = ['PK\x03\x04', 'PK\x05\x06'];

/** What a path names that is to be saved: a file is an archive, and what it holds tells which. */
export function kindOf(path: string): 'folder' | 'tar' | 'zip' {
  // What is not there, and what is no file, is told by whoever takes the folder.
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return 'folder';
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(4);
    readSync(fd, head, 0, head.length, 0);
    return ZIP_BEGINNINGS.includes(head.toString('latin1')) ? 'zip' : 'tar';
  } finally {
    closeSync(fd);
  }
}
