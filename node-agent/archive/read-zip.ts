import { constants, read } from 'node:fs';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { type Entry, fromFdPromise, getFileNameLowLevel, type ZipFile } from 'yauzl';
import { DEFAULT_MODE, StorageError, type TarEntry, type TarType } from '../contract.ts';

/** Who made an entry, in the upper byte of its version: those whose attributes are those of Unix. */
const UNIX: ReadonlySet<number> = new Set([3, 19]);
const UTF8_FLAG = 0x800;
/** The extra field with a name in UTF-8, and a checksum of that which it stands for. */
const UNICODE_PATH = 0x7075;
/** What a decoder puts in the place of bytes that are no letter: refused wherever it is. */
const NOT_UTF8 = '\ufffd';
/** Bytes of what a link leads to, as Linux has it. */
const MAX_TARGET = 4096;
const ENTRY_SIGNATURE = 0x02014b50;
const STORED = 0;
const DEFLATED = 8;

const KINDS: Readonly<Record<number, TarType>> = {
  // An entry without a kind is a file.
  0: 'file',
  [constants.S_IFREG]: 'file',
  [constants.S_IFDIR]: 'folder',
  [constants.S_IFLNK]: 'symlink',
};

const readAt = promisify(read);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the entries of a zip, as its directory at the end has them. What would not come out exactly as
 * it went in is refused: encrypted, of another size or checksum, or named otherwise in another place.
 * Format: PKWARE APPNOTE 6.3.10.
 *
 * @param fd the open zip; whoever opened it closes it
 * @throws StorageError `corrupt` where it is no whole zip, `invalid_input` that names an entry which
 *   cannot be kept
 */
export async function* readZip(fd: number): AsyncGenerator<TarEntry, void> {
  const zip = await reading(() =>
    fromFdPromise(fd, { lazyEntries: true, autoClose: false, decodeStrings: false }),
  );
  const entries = zip.eachEntry();
  for (;;) {
    const { done, value: entry } = await reading(() => entries.next());
    if (done === true) break;
    yield await readEntry(zip, entry);
  }
  await checkEnd(zip, fd);
}

async function readEntry(zip: ZipFile, entry: Entry): Promise<TarEntry> {
  const name = nameOf(entry);
  await checkHeader(zip, entry, name);
  const type = typeOf(entry, name);
  const size = entry.uncompressedSize;
  if (type === 'folder' && size > 0) throw refuse(name, 'it is a folder with content');
  if (type === 'symlink' && size > MAX_TARGET) {
    throw refuse(name, `it is a link to a path of over ${MAX_TARGET} bytes`);
  }
  const linkName = type === 'symlink' ? await readTarget(zip, entry, name) : '';
  const attributes = attributesOf(entry);
  const mode = attributes === 0 ? DEFAULT_MODE : attributes & 0o7777;
  const header = { name, type, size: type === 'file' ? size : 0, mode, linkName };
  return { header, body: contentOf(zip, entry, name) };
}

/** What the directory says of an entry must be what stands before its content. */
async function checkHeader(zip: ZipFile, entry: Entry, name: string): Promise<void> {
  if (entry.isEncrypted()) throw refuse(name, 'it is encrypted');
  const method = entry.compressionMethod;
  if (method !== STORED && method !== DEFLATED) {
    throw refuse(name, `it is compressed by method ${method}, which is not known here`);
  }
  const { fileName } = await reading(() => zip.readLocalFileHeaderPromise(entry));
  if (!fileName.equals(entry.fileNameRaw)) throw refuse(name, 'it has two names');
}

async function readTarget(zip: ZipFile, entry: Entry, name: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of contentOf(zip, entry, name)) pieces.push(Buffer.from(piece));
  return decode(Buffer.concat(pieces)) ?? NOT_UTF8;
}

/** Its content, whole: its length and its checksum are those that the zip says. */
async function* contentOf(
  zip: ZipFile,
  entry: Entry,
  name: string,
): AsyncGenerator<Uint8Array, void> {
  const stream = await reading(() => zip.openReadStreamPromise(entry));
  let checksum = 0;
  try {
    for await (const piece of stream as AsyncIterable<Buffer>) {
      checksum = crc32(piece, checksum);
      yield piece;
    }
  } catch (error) {
    throw unreadable(error);
  } finally {
    stream.destroy();
  }
  if (checksum !== entry.crc32) throw unreadable(new Error(`${JSON.stringify(name)} is damaged`));
}

function typeOf(entry: Entry, name: string): TarType {
  if (name.endsWith('/')) return 'folder';
  const type = KINDS[attributesOf(entry) & constants.S_IFMT];
  if (type === undefined) throw refuse(name, 'it is neither file nor folder nor link');
  return type;
}

function attributesOf(entry: Entry): number {
  return UNIX.has(entry.versionMadeBy >> 8) ? entry.externalFileAttributes >>> 16 : 0;
}

/** As Info-ZIP has it where it does; UTF-8, also where nobody said so; else the letters of the first PCs. */
function nameOf({ generalPurposeBitFlag, fileNameRaw, extraFields }: Entry): string {
  const isSaidTwice = extraFields.some(({ id }) => id === UNICODE_PATH);
  const name = isSaidTwice ? null : decode(fileNameRaw);
  if (name !== null) return name;
  if (!isSaidTwice && (generalPurposeBitFlag & UTF8_FLAG) !== 0) return NOT_UTF8;
  return getFileNameLowLevel(generalPurposeBitFlag, fileNameRaw, extraFields, true);
}

function decode(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** A count that is too low would hide what comes after it. */
async function checkEnd(zip: ZipFile, fd: number): Promise<void> {
  // Declared as something else than the number that it is.
  const end = Number(zip.readEntryCursor);
  const next = Buffer.alloc(4);
  if (end + next.length > zip.fileSize) return;
  await reading(() => readAt(fd, next, 0, next.length, end));
  if (next.readUInt32LE() === ENTRY_SIGNATURE) {
    throw unreadable(new Error('it has more entries than it says'));
  }
}

async function reading<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw unreadable(error);
  }
}

function unreadable(error: unknown): StorageError {
  const message = `Cannot read the zip: ${(error as Error).message}`;
  return new StorageError('corrupt', message, { cause: error });
}

function refuse(path: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use path ${JSON.stringify(path)}: ${problem}`);
}
