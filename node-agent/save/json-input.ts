import * as v from 'valibot';
import { type Limits, parseVersion, StorageError, validate } from '../contract.ts';
import type { SourceFile } from '../store/source.ts';
import { type FileContent, parseFile, type SaveDetails } from './request.ts';
import { SharedMemory } from './shared-memory.ts';

const version = v.union([v.number(), v.string()], 'must be a whole number');
const text = v.string('must be a text');

/** What is said of a generation beside its files, as the wire has it. */
export const DetailsSchema = v.strictObject({
  project_id: text,
  version: v.optional(version),
  generation_id: v.optional(text),
  owner_id: v.optional(text),
  metadata: v.optional(v.unknown()),
  replace: v.optional(v.boolean('must be true or false')),
  tree: v.optional(v.literal('now', 'must be "now", or left out')),
});

const BodySchema = v.strictObject({
  ...DetailsSchema.entries,
  // Not v.record, which passes over a file named "constructor". Each file is checked.
  files: v.custom<Record<string, FileContent>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be an object of files by path',
  ),
});

/** A save that came as JSON. */
export type ParsedSave = Readonly<{ details: SaveDetails; files: readonly SourceFile[] }>;

/**
 * Reads the JSON body of a save. The contents lie in one memory that threads share.
 *
 * @throws StorageError `invalid_input`, `too_large`
 */
export function parseSaveBody(bytes: Uint8Array, limits: Limits): ParsedSave {
  const { files: given, ...details } = validate(BodySchema, parseStrictly(decode(bytes), NOT_JSON));
  // A file may have any name, also one that an object is born with.
  const entries = Object.entries(given);
  if (entries.length > limits.files) {
    throw new StorageError(
      'too_large',
      `Cannot take ${entries.length} files: a generation has at most ${limits.files}`,
    );
  }
  // Text has no more bytes than the JSON that it was in.
  const memory = new SharedMemory(bytes.length);
  const files = entries.map(([path, file]) => {
    const { content: whole, ...rest } = parseFile(path, file);
    const content = memory.keep(whole);
    // One after another: all of them at once would be the third copy of the body.
    delete given[path];
    return { ...rest, content };
  });
  return { details: toDetails(details), files };
}

const NOT_JSON = 'body: not JSON in UTF-8';

/** Bytes that are no UTF-8 would become others without a word. */
function decode(bytes: Uint8Array): string {
  try {
    // A copy, of which nothing is left then: what threads share is not decoded.
    const copy = Uint8Array.from(bytes);
    const text = new TextDecoder('utf-8', { fatal: true }).decode(copy);
    copy.buffer.transfer(0);
    return text;
  } catch (cause) {
    throw new StorageError('invalid_input', `Cannot use the request: ${NOT_JSON}`, { cause });
  }
}

/**
 * Parses JSON in which no object has two members with one name.
 *
 * @param otherwise what to say where it is no JSON
 * @throws StorageError `invalid_input`
 */
export function parseStrictly(text: string, otherwise: string): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new StorageError('invalid_input', `Cannot use the request: ${otherwise}`, { cause });
  }
  checkNames(text);
  return json;
}

/** What shapes a JSON text, and its strings. A regular expression would not hold a string of megabytes. */
function* tokensOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if ('{}[],'.includes(character)) yield character;
    if (character !== '"') continue;
    let end = at;
    do end = text.indexOf('"', end + 1);
    while (isEscaped(text, end));
    yield text.slice(at, end + 1);
    at = end;
  }
}

function isEscaped(text: string, at: number): boolean {
  let begin = at;
  while (text.charAt(begin - 1) === '\\') begin--;
  return (at - begin) % 2 === 1;
}

/**
 * JSON.parse takes the last of two members with one name, and says nothing of the other.
 *
 * @throws StorageError `invalid_input` that names it
 */
function checkNames(text: string): void {
  const open: { names: Set<string> | null; expectsName: boolean }[] = [];
  for (const token of tokensOf(text)) {
    const here = open.at(-1);
    if (token === '{') open.push({ names: new Set(), expectsName: true });
    else if (token === '[') open.push({ names: null, expectsName: false });
    else if (token === '}' || token === ']') open.pop();
    else if (token === ',') {
      if (here !== undefined) here.expectsName = here.names !== null;
    } else if (here?.names != null && here.expectsName) {
      here.expectsName = false;
      const name = JSON.parse(token) as string;
      if (here.names.has(name)) {
        const shown = JSON.stringify(name.slice(0, 200));
        throw new StorageError('invalid_input', `Cannot use the request: ${shown} is there twice`);
      }
      here.names.add(name);
    }
  }
}

export function toDetails(details: v.InferOutput<typeof DetailsSchema>): SaveDetails {
  const { project_id, version, generation_id, owner_id, metadata, replace, tree } = details;
  return {
    projectId: project_id,
    ...(version === undefined ? {} : { version: parseVersion(version) }),
    ...(generation_id === undefined ? {} : { generationId: generation_id }),
    ...(owner_id === undefined ? {} : { ownerId: owner_id }),
    // What it is, the save itself checks.
    ...(metadata === undefined ? {} : { metadata: metadata as Record<string, unknown> }),
    ...(replace === undefined ? {} : { replace }),
    ...(tree === undefined ? {} : { tree }),
  };
}
