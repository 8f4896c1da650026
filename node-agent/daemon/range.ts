/** Which bytes are asked for: from `begin` up to and without `end`. */
export type Bytes = Readonly<{ begin: number; end: number }>;

/**
 * Reads a Range header (RFC 9110, section 14): one range of bytes.
 *
 * @returns `null` where all is to be given: several ranges and other units may be ignored, and what is
 *   no range must be; `unsatisfiable` where it begins behind the end
 */
export function parseRange(
  header: string | undefined,
  size: number,
): Bytes | null | 'unsatisfiable' {
  const found = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? '');
  const [, first = '', last = ''] = found ?? [];
  if (first === '' && last === '') return null;
  if (first === '') {
    const count = Math.min(Number(last), size);
    return count === 0 ? 'unsatisfiable' : { begin: size - count, end: size };
  }
  const begin = Number(first);
  if (last !== '' && Number(last) < begin) return null;
  if (begin >= size) return 'unsatisfiable';
  return { begin, end: last === '' ? size : Math.min(Number(last) + 1, size) };
}
