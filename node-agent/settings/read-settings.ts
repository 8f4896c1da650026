import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { NotAFile } from '../disk/open-inside.ts';

/** Bytes of a file of settings, or of a secret. */
const MAX_BYTES = 1024 * 1024;

/**
 * Reads a small text that the operator names. Links are followed: secrets are mounted as such. A pipe
 * is not waited for.
 *
 * @returns without the mark of its order of bytes; `null` where it is no UTF-8, as UTF-16 is not
 * @throws NotAFile; what the file system says
 */
export function readSettings(path: string): string | null {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (stat.isDirectory()) throw Object.assign(new Error('EISDIR'), { code: 'EISDIR' });
    if (!stat.isFile() || stat.size > MAX_BYTES) throw new NotAFile(path, 'no regular file');
    return decode(readFileSync(fd));
  } finally {
    closeSync(fd);
  }
}

function decode(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // UTF-16 is full of zeros.
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}
