import { writeSync } from 'node:fs';

/** Writes bytes to an open file, whole. @param position left out: where the last write ended */
export function writeAll(fd: number, bytes: Uint8Array, position: number | null = null): void {
  for (let offset = 0; offset < bytes.length; ) {
    const at = position === null ? null : position + offset;
    offset += writeSync(fd, bytes, offset, bytes.length - offset, at);
  }
}
