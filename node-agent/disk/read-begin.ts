import { readSync } from 'node:fs';

/** The first bytes of an open file; fewer where it has no more. */
export function readBegin(fd: number, bytes: number): Buffer {
  const begin = Buffer.allocUnsafeSlow(bytes);
  let filled = 0;
  while (filled < bytes) {
    const read = readSync(fd, begin, filled, bytes - filled, filled);
    if (read === 0) break;
    filled += read;
  }
  return begin.subarray(0, filled);
}
