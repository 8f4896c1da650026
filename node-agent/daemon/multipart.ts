/**
 * Reads a form (RFC 7578, in the framing of RFC 2046) as it streams in. What cannot be taken exactly as
 * it was meant is refused: a header that is dropped in silence would be a file that is stored otherwise
 * than it was sent.
 */
import { StorageError } from '../contract.ts';

/** A part of a form: a field, or a file where it has a path. */
export type Part = Readonly<{
  name: string;
  /** The name of the file; `null` of a field. */
  path: string | null;
  /** Its content, once. Each piece is good until the next one is asked for. */
  body: AsyncIterable<Uint8Array>;
}>;

/** Bytes of the headers of one part. */
const MAX_HEADERS = 16 * 1024;
/** Bytes before the first part, which are for readers that know no parts. */
const MAX_PREAMBLE = 64 * 1024;

const CRLF = Buffer.from('\r\n');
const HEADERS_END = Buffer.from('\r\n\r\n');

/**
 * Lists the parts of a form, in their order.
 *
 * @throws StorageError `invalid_input` that names the part; whatever the input throws
 */
export async function* readForm(
  contentType: string,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Part, void> {
  const source = new Source(input);
  const delimiter = Buffer.from(`\r\n--${boundaryOf(contentType)}`);
  await source.take(delimiter, MAX_PREAMBLE, 'it does not begin with its boundary');
  for (let count = 1; !(await isLast(source)); count++) {
    const headers = await readHeaders(source, count);
    const body = source.until(delimiter);
    yield { ...readDisposition(headers, count), body };
    // What nobody asked for is passed over.
    for await (const _ of body);
  }
}

/** What follows a boundary: two dashes after the last part, else the end of the line. */
async function isLast(source: Source): Promise<boolean> {
  if ((await source.peek(2)) === '--') {
    // Anything but blanks would be the rest of a content, or a part, that nobody reads.
    await source.expectBlank(2);
    return true;
  }
  const padding = await source.take(CRLF, MAX_HEADERS, 'its boundary is part of a longer line');
  if (/^[ \t]*$/.test(padding)) return false;
  throw refuse('its boundary is part of a longer line');
}

async function readHeaders(source: Source, count: number): Promise<Map<string, string>> {
  const headers = new Map<string, string>();
  // Without any the empty line comes at once.
  if ((await source.peek(2)) === '\r\n') return headers;
  const text = await source.take(
    HEADERS_END,
    MAX_HEADERS,
    `part ${count}: its headers are too long`,
  );
  for (const line of text.split('\r\n')) {
    const [, name, value = ''] =
      /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined) throw refuse(`part ${count}: a header cannot be read: ${show(line)}`);
    if (headers.has(name.toLowerCase())) throw refuse(`part ${count}: ${name} is there twice`);
    headers.set(name.toLowerCase(), value);
  }
  return headers;
}

/** Encodings that leave bytes as they are. */
const IDENTITY: ReadonlySet<string> = new Set(['', 'binary', '8bit', '7bit', 'identity']);

function readDisposition(headers: Map<string, string>, count: number): Omit<Part, 'body'> {
  const disposition = headers.get('content-disposition') ?? '';
  const [kind = '', ...rest] = disposition.split(';');
  if (kind.trim().toLowerCase() !== 'form-data') {
    throw refuse(`part ${count}: its Content-Disposition is ${show(disposition)}, not form-data`);
  }
  const parameters = readParameters(rest.join(';'), disposition);
  const { name } = parameters;
  if (name === undefined) throw refuse(`part ${count}: it has no name`);
  for (const header of ['content-transfer-encoding', 'content-encoding']) {
    const encoding = headers.get(header)?.toLowerCase() ?? '';
    if (!IDENTITY.has(encoding)) throw refuse(`${show(name)}: its ${header} is ${show(encoding)}`);
  }
  const type = headers.get('content-type') ?? '';
  if (/^multipart\//i.test(type)) throw refuse(`${show(name)}: it is itself a ${show(type)}`);
  const path = pathOf(parameters, disposition);
  const charset = /charset="?([^";\s]+)/i.exec(type)?.[1];
  if (path === null && charset !== undefined && !/^(utf-8|us-ascii)$/i.test(charset)) {
    throw refuse(`${show(name)}: it is in ${charset}, not in UTF-8`);
  }
  return { name, path };
}

/** `; name="value"`, again and again, and nothing else. */
function readParameters(text: string, all: string): Record<string, string> {
  const parameters: Record<string, string> = {};
  const parameter = /[ \t]*([a-z]+\*?)=(?:"([^"]*)"|([^\s;"]+))[ \t]*(?:;|$)/iy;
  while (parameter.lastIndex < text.length) {
    const [, key, quoted, bare = ''] = parameter.exec(text) ?? [];
    if (key === undefined) throw refuse(`a part's Content-Disposition is ambiguous: ${show(all)}`);
    const name = key.toLowerCase();
    if (!['name', 'filename', 'filename*'].includes(name)) {
      throw refuse(`a part's Content-Disposition has ${show(key)}: ${show(all)}`);
    }
    if (parameters[name] !== undefined) throw refuse(`${name} is there twice: ${show(all)}`);
    const value = quoted ?? bare;
    // One with a star has an encoding of its own.
    parameters[name] = name.endsWith('*') ? value : decode(value, all);
  }
  return parameters;
}

/**
 * A browser writes a quote as `%22`, and `%22` as it is; other programs write `\"`, and a backslash as
 * it is. So neither says which it was.
 */
function decode(value: string, all: string): string {
  const ambiguous = /%22|%0d|%0a|\\/i.exec(value)?.[0];
  if (ambiguous !== undefined) {
    throw refuse(
      `a name with ${show(ambiguous)} is ambiguous: ${show(all)}. Send it in a tar or as JSON`,
    );
  }
  try {
    return utf8.decode(Buffer.from(value, 'latin1'));
  } catch {
    throw refuse(`a name is not UTF-8: ${show(all)}`);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Of the two ways to say it, one; RFC 5987 has the second. */
function pathOf(parameters: Record<string, string>, all: string): string | null {
  const { filename, 'filename*': extended } = parameters;
  if (extended === undefined) return filename ?? null;
  const [, encoded] = /^utf-8'[^']*'((?:[^%]|%[0-9a-f]{2})*)$/i.exec(extended) ?? [];
  let path: string | null = null;
  try {
    path = encoded === undefined ? null : decodeURIComponent(encoded);
  } catch {
    // No UTF-8: the same answer.
  }
  if (path === null || (filename !== undefined && filename !== path)) {
    throw refuse(`the name of a file is ambiguous: ${show(all)}`);
  }
  return path;
}

function boundaryOf(contentType: string): string {
  const found = [...contentType.matchAll(/;[ \t]*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/gi)];
  const [match] = found;
  if (match !== undefined && found.length === 1) return match[1] ?? match[2] ?? '';
  throw new StorageError('invalid_input', 'Cannot use the request: content-type: has no boundary');
}

/** Bytes as they come, and what is in them up to a mark. */
class Source {
  readonly #input: AsyncIterator<Uint8Array>;
  // The first boundary may be the first line.
  #buffer: Buffer = CRLF;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#input = input[Symbol.asyncIterator]();
  }

  async peek(count: number): Promise<string> {
    while (this.#buffer.length < count) await this.#fill();
    return this.#buffer.toString('latin1', 0, count);
  }

  /** All up to a mark, and past that: a text of bytes, so many at most. */
  async take(mark: Buffer, most: number, problem: string): Promise<string> {
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of this.until(mark)) {
      size += piece.length;
      if (size > most) throw refuse(problem);
      pieces.push(Buffer.from(piece));
    }
    return Buffer.concat(pieces).toString('latin1');
  }

  /** Reads to the end, where nothing but blanks may be. */
  async expectBlank(from: number): Promise<void> {
    let bytes = this.#buffer.subarray(from);
    for (let size = bytes.length; ; size += bytes.length) {
      if (size > MAX_PREAMBLE || !/^[ \t\r\n]*$/.test(bytes.toString('latin1'))) {
        throw refuse('something follows its end');
      }
      const { done, value } = await this.#input.next();
      if (done === true) return;
      bytes = Buffer.from(value);
    }
  }

  async *until(mark: Buffer): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const at = this.#buffer.indexOf(mark);
      // What may be the beginning of the mark is kept.
      const sure = at === -1 ? this.#buffer.length - (mark.length - 1) : at;
      if (sure > 0) {
        const piece = this.#buffer.subarray(0, sure);
        this.#buffer = this.#buffer.subarray(sure);
        yield piece;
      }
      if (at !== -1) {
        this.#buffer = this.#buffer.subarray(mark.length);
        return;
      }
      await this.#fill();
    }
  }

  async #fill(): Promise<void> {
    const { done, value } = await this.#input.next();
    if (done === true) throw refuse('it is cut off');
    this.#buffer = Buffer.concat([this.#buffer, value]);
  }
}

function show(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function refuse(problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use the form: ${problem}`);
}
