/**
 * Headers of a tar: POSIX ustar, with a pax header where a path does not fit or is not ASCII.
 * Format: IEEE Std 1003.1-2017, `pax`, "ustar Interchange Format" and "pax Header Block".
 */

/** Tar is written in blocks of this many bytes. */
export const TAR_BLOCK = 512;

/** The time of every entry, so that the same files make the same bytes: the first that a zip knows. */
const MTIME = Date.UTC(1980, 0, 1) / 1000;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
const ZERO_DIGIT = '0'.charCodeAt(0);
const ASCII = /^[\x20-\x7e]*$/;

const ZEROS = Buffer.alloc(2 * TAR_BLOCK);

type Entry = { path: string; size: number; mode: number };

/** The header of a file, and before it the pax header where one is needed. */
export function tarHeader({ path, size, mode }: Entry): Buffer {
  const split = ASCII.test(path) ? splitPath(path) : null;
  if (split !== null) return ustar({ ...split, size, mode, type: '0' });
  const record = paxRecord('path', path);
  return Buffer.concat([
    ustar({ name: 'PaxHeader', prefix: '', size: record.length, mode: 0o644, type: 'x' }),
    record,
    tarPadding(record.length),
    // Readers that know no pax see this name; it is unique enough to lose nothing.
    ustar({ name: asciiName(path), prefix: '', size, mode, type: '0' }),
  ]);
}

/** Bytes of a file in a tar: its headers, its content, and the zeros after that. */
export function tarEntryBytes({ path, size }: Pick<Entry, 'path' | 'size'>): number {
  const fits = ASCII.test(path) && splitPath(path) !== null;
  const record = fits ? 0 : paxRecord('path', path).length;
  const headers = fits ? TAR_BLOCK : 2 * TAR_BLOCK + record + tarPadding(record).length;
  return headers + size + tarPadding(size).length;
}

/** The zeros that fill the last block of an entry of the given size. */
export function tarPadding(size: number): Buffer {
  return ZEROS.subarray(0, (TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK);
}

/** The two empty blocks that end a tar. */
export function tarEnd(): Buffer {
  return ZEROS;
}

/** Splits a path at a slash into ustar's prefix and name; `null` where it does not fit. */
function splitPath(path: string): { name: string; prefix: string } | null {
  if (path.length <= NAME_BYTES) return { name: path, prefix: '' };
  const slash = path.indexOf('/', path.length - NAME_BYTES - 1);
  return slash < 1 || slash > PREFIX_BYTES || slash === path.length - 1
    ? null
    : { prefix: path.slice(0, slash), name: path.slice(slash + 1) };
}

function asciiName(path: string): string {
  const name = path.replaceAll(/[^\x20-\x7e]/g, '_').slice(-NAME_BYTES);
  // Cut anywhere, it must not begin as a path out of the folder would.
  return name.replace(/^[./]+/, '_');
}

/** `{length} {key}={value}\n`, where the length counts its own digits. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length;
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** What all headers have alike; spaces where the checksum comes. */
const TEMPLATE = (() => {
  const block = Buffer.alloc(TAR_BLOCK);
  writeOctal(block, 0, 108, 8);
  writeOctal(block, 0, 116, 8);
  writeOctal(block, MTIME, 136, 12);
  block.fill(' ', 148, 156);
  block.write('ustar\0' + '00', 257, 'latin1');
  writeOctal(block, 0, 329, 8);
  writeOctal(block, 0, 337, 8);
  return block;
})();

function ustar(entry: {
  name: string;
  prefix: string;
  size: number;
  mode: number;
  type: '0' | 'x';
}): Buffer {
  // Of a buffer that many share: memory of its own for each would be most of the work.
  const block = Buffer.allocUnsafe(TAR_BLOCK);
  TEMPLATE.copy(block);
  block.write(entry.name, 0, NAME_BYTES, 'latin1');
  writeOctal(block, entry.mode, 100, 8);
  writeOctal(block, entry.size, 124, 12);
  block.write(entry.type, 156, 'latin1');
  block.write(entry.prefix, 345, PREFIX_BYTES, 'latin1');
  let checksum = 0;
  for (let i = 0; i < TAR_BLOCK; i++) checksum += block[i]!;
  writeOctal(block, checksum, 148, 7);
  return block;
}

/** Digits and a NUL. By hand: of a string for each there is soon more garbage than of the files. */
function writeOctal(block: Buffer, value: number, offset: number, length: number): void {
  let rest = value;
  block[offset + length - 1] = 0;
  for (let i = offset + length - 2; i >= offset; i--) {
    block[i] = ZERO_DIGIT + (rest % 8);
    rest = Math.floor(rest / 8);
  }
}
