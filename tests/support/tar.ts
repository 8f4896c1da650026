/** Tars of any entries whatever, also such as no honest program writes. */
import { gzipSync } from 'node:zlib';

const BLOCK = 512;

export type TarEntry = Readonly<{
  name: string;
  content?: string | Buffer;
  /** The type flag. @default '0', a file */
  type?: string;
  linkName?: string;
  /** What the header says, where it is to lie. */
  size?: number;
  /** Changes the header in place, before its checksum is made. */
  change?: (header: Buffer) => void;
}>;

/** Whose headers a tar has, where one may differ from another: those of the agent, or any other's. */
export type Style = 'ours' | 'other';

/** The tar of the entries, gzipped. */
export function makeTarGz(entries: readonly TarEntry[], style: Style = 'other'): Buffer {
  return gzipSync(makeTar(entries, style));
}

/** The tar of the entries. */
export function makeTar(entries: readonly TarEntry[], style: Style = 'other'): Buffer {
  const parts = entries.map((entry) => makeEntry(entry, style));
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

/** A pax header that names the entry after it. */
export function paxPath(path: string): TarEntry {
  const rest = ` path=${path}\n`;
  let length = rest.length + 1;
  while (String(length).length + Buffer.byteLength(rest) !== length) length++;
  return { name: 'PaxHeader', type: 'x', content: `${length}${rest}` };
}

function makeEntry(entry: TarEntry, style: Style): Buffer {
  const { name, content = '', type = '0', linkName = '', size, change } = entry;
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${(size ?? bytes.length).toString(8).padStart(11, '0')}\0`, 124);
  header.write(style === 'ours' ? '02263523000\0' : '00000000000\0', 136);
  header.fill(' ', 148, 156);
  header.write(type, 156);
  header.write(linkName, 157, 100);
  header.write('ustar\x0000', 257, 'latin1');
  if (style === 'ours') header.write('0000000\x000000000\0', 329);
  change?.(header);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
  return Buffer.concat([header, bytes, padding]);
}
