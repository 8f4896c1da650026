/**
 * Reads a tar as it streams in: POSIX ustar and pax, GNU long names, and the older forms.
 * Formats: IEEE Std 1003.1-2017, `pax`, "ustar Interchange Format" and "pax Header Block"; the GNU tar
 * manual, "Basic Tar Format". What would not come out exactly as it went in is refused, never guessed.
 */
import { StorageError } from './errors.ts';

/** What an entry is. Devices, pipes and everything unknown are refused. */
export type TarType = 'file' | 'folder' | 'symlink' | 'hardlink';

export type TarHeader = Readonly<{
  name: string;
  type: TarType;
  /** Bytes of content; 0 for all but files. */
  size: number;
  /** Permission bits. */
  mode: number;
  /** Where a link leads; empty for all others. */
  linkName: string;
}>;

export type TarEntry<Body = AsyncIterable<Uint8Array>> = Readonly<{
  header: TarHeader;
  /** Its content, once: all of it, or none. Each piece is good until the next one is asked for. */
  body: Body;
}>;

const BLOCK = 512;
/** Bytes of one header that says more of the entry after it, as pax and GNU have them, ... */
const MAX_EXTENSION = 256 * 1024;
/** ... of all of them in a tar, and their records. */
const MAX_EXTENSION_BYTES = 64 * 1024 * 1024;
const MAX_RECORDS = 400_000;
/** Such headers before one entry: a global one, a name and a link's target are the most that make sense. */
const MAX_EXTENSIONS = 8;
/** Zeros after the end: tapes were written in records. */
const MAX_PADDING = 16 * 1024 * 1024;

const TYPES: Readonly<Record<string, TarType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'folder',
};
const UNUSABLE: Readonly<Record<string, string>> = {
  '3': 'a character device',
  '4': 'a block device',
  '6': 'a FIFO',
  '7': 'a contiguous file',
  S: 'a sparse file',
  V: 'the name of a volume',
};

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What is left of what such headers may have, in all of a tar. */
type Budget = { bytes: number; records: number };

/** What the headers before an entry say of it. */
type Extension = { name?: string; linkName?: string; size?: number; isSparse?: boolean };

/**
 * Lists the entries of a tar, one after another.
 *
 * @throws StorageError `corrupt` where it is no whole tar, `invalid_input` that names the entry and its
 *   type where that cannot be kept; whatever the input throws
 */
export async function* readTarEntries(
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<TarEntry, void> {
  const source = new Pieces(input);
  const budget = { bytes: MAX_EXTENSION_BYTES, records: MAX_RECORDS };
  try {
    for (;;) {
      const header = await readHeader(source, budget);
      if (header === null) return await readEnd(source);
      const content = { unread: header.size };
      yield { header, body: readContent(source, content) };
      // What nobody asked for is passed over.
      for await (const _ of readContent(source, content));
      await source.skip(paddingOf(header.size));
    }
  } finally {
    await source.close();
  }
}

async function* readContent(
  source: Pieces,
  content: { unread: number },
): AsyncGenerator<Uint8Array, void> {
  while (content.unread > 0) {
    const piece = await source.some(content.unread);
    content.unread -= piece.length;
    yield piece;
  }
}

/** The header of an entry, with what those before it say; `null` at the end. */
async function readHeader(source: Pieces, budget: Budget): Promise<TarHeader | null> {
  const extension: Extension = {};
  for (let count = 0; ; count++) {
    const block = await source.exactly(BLOCK);
    if (block[0] === 0 && isZero(block)) {
      if (count > 0) throw broken('a header says more of an entry that is not there');
      return null;
    }
    checkSum(block);
    const flag = String.fromCharCode(block[156]!);
    if (!'xgLK'.includes(flag)) return makeHeader(block, flag, extension);
    if (count >= MAX_EXTENSIONS) throw broken('too many headers stand before one entry');
    const size = readNumber(block, 124, 12);
    if (size > MAX_EXTENSION) throw broken(`a header has over ${MAX_EXTENSION} bytes`);
    budget.bytes -= size;
    if (budget.bytes < 0) throw tooMuch();
    const bytes = await source.exactly(size);
    await source.skip(paddingOf(size));
    if (flag === 'L') extension.name = readText(bytes, 0, size);
    else if (flag === 'K') extension.linkName = readText(bytes, 0, size);
    else readPax(bytes, flag === 'g', extension, budget);
  }
}

function makeHeader(block: Uint8Array, flag: string, extension: Extension): TarHeader {
  const name = extension.name ?? nameOf(block);
  const type = extension.isSparse === true ? undefined : TYPES[flag];
  if (type === undefined) {
    const kind = extension.isSparse === true ? UNUSABLE.S : (UNUSABLE[flag] ?? 'something unknown');
    throw refuse(name, `it is no file but ${kind} (type ${JSON.stringify(flag)})`);
  }
  const size = extension.size ?? readNumber(block, 124, 12);
  // Before there was a type for folders, a slash at the end made one.
  const isFolder = type === 'folder' || (type === 'file' && name.endsWith('/'));
  if (isFolder && type === 'file' && size > 0) throw refuse(name, 'it is a folder with content');
  return {
    name,
    type: isFolder ? 'folder' : type,
    size: type === 'file' ? size : 0,
    mode: readNumber(block, 100, 8) & 0o777,
    linkName: type.endsWith('link') ? (extension.linkName ?? readText(block, 157, 257)) : '',
  };
}

function nameOf(block: Uint8Array): string {
  const name = readText(block, 0, 100);
  // GNU keeps times where ustar has the prefix, and says so in its magic.
  const isUstar = decoder.decode(block.subarray(257, 263)) === 'ustar\0';
  const prefix = isUstar ? readText(block, 345, 500) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** `{length} {key}={value}\n`, one after another. The length counts all of the record. */
function readPax(bytes: Uint8Array, isGlobal: boolean, extension: Extension, budget: Budget): void {
  for (let at = 0; at < bytes.length; ) {
    budget.records--;
    if (budget.records < 0) throw tooMuch();
    const space = bytes.indexOf(0x20, at);
    const digits = space === -1 ? '' : decoder.decode(bytes.subarray(at, Math.min(space, at + 20)));
    const end = at + (/^[1-9]\d*$/.test(digits) ? Number(digits) : 0);
    const equals = bytes.indexOf(0x3d, space + 1);
    const isWhole =
      space !== -1 &&
      equals > space + 1 &&
      equals < end &&
      end <= bytes.length &&
      bytes[end - 1] === 0x0a;
    if (!isWhole) throw broken('a pax header cannot be read');
    const key = decoder.decode(bytes.subarray(space + 1, equals));
    const value = decoder.decode(bytes.subarray(equals + 1, end - 1));
    usePax(key, value, isGlobal, extension);
    at = end;
  }
}

function usePax(key: string, value: string, isGlobal: boolean, extension: Extension): void {
  if (key.startsWith('GNU.sparse.')) {
    extension.isSparse = true;
    if (key === 'GNU.sparse.name') extension.name = value;
    return;
  }
  if (key !== 'path' && key !== 'linkpath' && key !== 'size') return;
  if (isGlobal) throw broken(`a global header sets the ${key} of all entries`);
  // A sparse file's own name says where its pieces are.
  if (key === 'path')
    extension.name = extension.isSparse === true ? (extension.name ?? value) : value;
  else if (key === 'linkpath') extension.linkName = value;
  else {
    if (!/^\d{1,15}$/.test(value)) throw broken('a pax header has a size that is none');
    extension.size = Number(value);
  }
}

/** Two empty blocks end a tar; zeros alone may follow. */
async function readEnd(source: Pieces): Promise<void> {
  if (!isZero(await source.exactly(BLOCK))) throw broken('an empty header stands in the middle');
  let left = MAX_PADDING;
  for (let piece = await source.rest(); piece !== null; piece = await source.rest()) {
    left -= piece.length;
    if (left < 0) throw broken(`over ${MAX_PADDING} bytes follow its end`);
    if (!isZero(piece)) throw broken('something follows its end');
  }
}

/** Takes as many bytes from a stream of pieces as are wanted. */
class Pieces {
  readonly #input: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array();

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#input = input[Symbol.asyncIterator]();
  }

  /** Up to so many bytes, one at least. */
  async some(most: number): Promise<Uint8Array> {
    const piece = (await this.rest()) ?? null;
    if (piece === null) throw broken('it is cut off');
    this.#piece = piece.subarray(most);
    return piece.subarray(0, most);
  }

  async exactly(count: number): Promise<Uint8Array> {
    if (count === 0) return new Uint8Array();
    const first = await this.some(count);
    if (first.length === count) return first;
    const whole = new Uint8Array(count);
    whole.set(first);
    for (let at = first.length; at < count; ) {
      const piece = await this.some(count - at);
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.some(left)).length;
  }

  /** What there is next; `null` at the end. */
  async rest(): Promise<Uint8Array | null> {
    let piece = this.#piece;
    this.#piece = new Uint8Array();
    while (piece.length === 0) {
      const { done, value } = await this.#input.next();
      if (done === true) return null;
      piece = value;
    }
    return piece;
  }

  async close(): Promise<void> {
    await this.#input.return?.();
  }
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function checkSum(block: Uint8Array): void {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i]!;
  if (sum !== readNumber(block, 148, 8)) throw broken('a header has another checksum');
}

/** Octal digits, or GNU's bytes where the first bit is set. */
function readNumber(block: Uint8Array, begin: number, length: number): number {
  const first = block[begin]!;
  if (first >= 0x80) {
    let value = first & 0x7f;
    for (let i = begin + 1; i < begin + length; i++) value = value * 256 + block[i]!;
    if (Number.isSafeInteger(value)) return value;
    throw broken('a header has a number that is too large');
  }
  const digits = readText(block, begin, begin + length).trim();
  if (/^[0-7]*$/.test(digits)) return Number.parseInt(digits || '0', 8);
  throw broken('a header has a number that is none');
}

/** Text up to its NUL, or to the end. Bytes that are no UTF-8 become U+FFFD. */
function readText(bytes: Uint8Array, begin: number, end: number): string {
  const field = bytes.subarray(begin, end);
  const nul = field.indexOf(0);
  return decoder.decode(nul === -1 ? field : field.subarray(0, nul));
}

function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

function tooMuch(): StorageError {
  return new StorageError(
    'too_large',
    `Cannot read the tar: its headers have over ${MAX_EXTENSION_BYTES} bytes, or ${MAX_RECORDS} records`,
  );
}

function broken(problem: string): StorageError {
  return new StorageError('corrupt', `Cannot read the tar: ${problem}`);
}

function refuse(name: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use path ${JSON.stringify(name)}: ${problem}`);
}
