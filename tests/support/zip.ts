/** Zips, well made or not: each part of an entry can be another than it should be. */
import { crc32, deflateRawSync } from 'node:zlib';

/** What is left out is as a program on Unix has it. */
export type ZipEntry = Readonly<{
  name: string | Buffer;
  content?: string | Buffer;
  /** Type and permission bits. */
  mode?: number;
  isDeflated?: boolean;
  /** Where it was made: 0 is DOS, 3 Unix. */
  system?: number;
  flags?: number;
  method?: number;
  crc?: number;
  /** Said in the directory. */
  size?: number;
  /** In front of the content, where that is another. */
  localName?: string;
  extra?: Buffer;
}>;

/** @param said how many entries it is said to have */
export function makeZip(entries: readonly ZipEntry[], said = entries.length): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const entry of entries) {
    const { isDeflated = true, mode = 0o100644, system = 3, extra = Buffer.alloc(0) } = entry;
    const name = Buffer.from(entry.name as string);
    const content = Buffer.from((entry.content ?? '') as string);
    const data = isDeflated ? deflateRawSync(content) : content;
    const method = entry.method ?? (isDeflated ? 8 : 0);
    const [flags, crc] = [entry.flags ?? 0x800, entry.crc ?? crc32(content)];
    const localName = entry.localName === undefined ? name : Buffer.from(entry.localName);
    const sizes = [u32(crc), u32(data.length), u32(entry.size ?? content.length)];
    const common = [u16(20), u16(flags), u16(method), u32(0x0021_0000), ...sizes];
    const local = [u32(0x04034b50), ...common, u16(localName.length), u16(0), localName, data];
    directory.push(
      ...[u32(0x02014b50), u16((system << 8) | 20), ...common],
      ...[u16(name.length), u16(extra.length), u16(0), u16(0), u16(0)],
      ...[u32((mode << 16) >>> 0), u32(at), name, extra],
    );
    parts.push(...local);
    at += Buffer.concat(local).length;
  }
  const central = Buffer.concat(directory);
  const counts = [u16(0), u16(0), u16(said), u16(said)];
  const end = [u32(0x06054b50), ...counts, u32(central.length), u32(at), u16(0)];
  return Buffer.concat([...parts, central, ...end]);
}

/** Info-ZIP's field with a name in UTF-8, for one that is not. */
export function unicodePath(name: string, raw: Buffer): Buffer {
  const data = Buffer.concat([Buffer.from([1]), u32(crc32(raw)), Buffer.from(name)]);
  return Buffer.concat([u16(0x7075), u16(data.length), data]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
