import { resolve } from 'node:path';
import { DEFAULT_MODE, parseId, parseVersion, StorageError } from '../contract.ts';
import {
  LINK_POLICIES,
  type LinkPolicy,
  type ListedSource,
  type Source,
  type SourceFile,
} from '../store/source.ts';
import { SharedMemory } from './shared-memory.ts';

/** The content of one file: text, bytes, or either with what JSON needs to say. */
export type FileContent =
  | string
  | Uint8Array
  | Readonly<{
      content: string | Uint8Array;
      /** How `content` is written where it is a string. @default 'utf8' */
      encoding?: 'utf8' | 'base64';
      /** Permission bits. @default 0o644 */
      mode?: number;
    }>;

export type SaveDetails = {
  projectId: string;
  /** Left out: the next free one, or that of the generation id where it was saved before. */
  version?: number;
  /** Left out: a new UUID. */
  generationId?: string;
  /** The user whose project it is. */
  ownerId?: string;
  /** Anything that JSON can hold; kept in the manifest. */
  metadata?: Record<string, unknown>;
  /** Whether other content under the same ref is to be replaced. @default false */
  replace?: boolean;
  /** `now`: its files are to lie at its path when it is answered, not only once they are asked for. */
  tree?: 'now';
  /** The id of the request that it came of: what is told of it says so. */
  requestId?: string;
};

/** Files by path, relative and with `/`. */
export type SaveInput = SaveDetails & {
  files: Readonly<Record<string, FileContent>> | ReadonlyMap<string, FileContent>;
};

export type SaveFolderInput = SaveDetails & {
  folder: string;
  /** What is left out, in the syntax of `.gitignore`; beside what `.codebegenignore` files say. */
  exclude?: readonly string[];
  /** Whether every `.git`, `node_modules`, `.venv` and `__pycache__` is left out. @default true */
  defaultExcludes?: boolean;
  /** Whether the folder's own `.gitignore` files are obeyed. @default false */
  gitignore?: boolean;
  /** What becomes of symbolic links. @default 'skip' */
  links?: LinkPolicy;
};

export type SaveTarInput = SaveDetails & {
  /** Gzipped or not. */
  tar: AsyncIterable<Uint8Array>;
  /** What becomes of symbolic links. @default 'skip' */
  links?: LinkPolicy;
};

export type SaveZipInput = SaveDetails & {
  zip: AsyncIterable<Uint8Array>;
  /** What becomes of symbolic links. @default 'skip' */
  links?: LinkPolicy;
};

/** A save whose every field is checked. */
export type SaveRequest = Readonly<{
  projectId: string;
  version: number | null;
  generationId: string | null;
  ownerId: string | null;
  metadata: Record<string, unknown>;
  replace: boolean;
  /** Of content that was there before, in ISO 8601; left out: now. */
  createdAt?: string;
  /** Whether the tree is laid out before the answer. */
  layOut: boolean;
  source: Source;
  requestId?: string | null;
  /** Files that were made of the source, of a generation that is saved anew. */
  artifacts?: ListedSource | null;
}>;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** @throws StorageError `invalid_input` */
export function parseSave(input: SaveInput): SaveRequest {
  const files = input.files instanceof Map ? [...input.files] : Object.entries(input.files);
  return {
    ...parseDetails(input),
    source: {
      kind: 'files',
      files: inOneMemory(files.map(([path, file]) => parseFile(path, file))),
    },
  };
}

/** More is given to the worker as it is: it has to be counted before it is copied. */
const SHARED_BYTES = 64 * 1024 * 1024;

/** Copies contents into one memory that threads share. */
function inOneMemory(files: readonly SourceFile[]): readonly SourceFile[] {
  const bytes = files.reduce((sum, { content }) => sum + content.length, 0);
  if (bytes > SHARED_BYTES) return files;
  const memory = new SharedMemory(bytes);
  return files.map((file) => ({ ...file, content: memory.keep(file.content) }));
}

/**
 * @param own absolute paths of what is never part of a save, although it may lie in the folder
 * @throws StorageError `invalid_input`
 */
export function parseSaveFolder(input: SaveFolderInput, own: readonly string[]): SaveRequest {
  const { folder, exclude = [], defaultExcludes = true, gitignore = false } = input;
  return {
    ...parseDetails(input),
    source: {
      kind: 'folder',
      folder: resolve(folder),
      exclude: { patterns: exclude, defaults: defaultExcludes, gitignore },
      links: parseLinks(input.links),
      own,
    },
  };
}

/** @throws StorageError `invalid_input` */
export function parseLinks(value: unknown): LinkPolicy {
  const policy = LINK_POLICIES.find((known) => known === (value ?? 'skip'));
  if (policy !== undefined) return policy;
  throw new StorageError(
    'invalid_input',
    `Cannot use ${JSON.stringify(value)} for links: it is one of ${LINK_POLICIES.join(', ')}`,
  );
}

/** @throws StorageError `invalid_input` */
export function parseOwner(value: unknown): string {
  if (typeof value === 'string' && UUID.test(value)) return value.toLowerCase();
  throw new StorageError(
    'invalid_input',
    `Cannot use ${JSON.stringify(value)} as owner: an owner is a user's UUID`,
  );
}

/** @throws StorageError `invalid_input` */
export function parseDetails(input: SaveDetails): Omit<SaveRequest, 'source'> {
  return {
    projectId: parseId(input.projectId, 'project id'),
    version: input.version === undefined ? null : parseVersion(input.version),
    generationId:
      input.generationId === undefined ? null : parseId(input.generationId, 'generation id'),
    ownerId: input.ownerId === undefined ? null : parseOwner(input.ownerId),
    metadata: parseMetadata(input.metadata),
    replace: input.replace === true,
    layOut: parseTree(input.tree),
    requestId: input.requestId ?? null,
  };
}

function parseTree(value: unknown): boolean {
  if (value === undefined || value === 'now') return value === 'now';
  throw new StorageError(
    'invalid_input',
    `Cannot use ${JSON.stringify(value)} for tree: it is "now", or left out`,
  );
}

/** Bytes of it as JSON: it is in the manifest, which is read whole. */
const MAX_METADATA = 1024 * 1024;

function tooLargeMetadata(): StorageError {
  const message = `Cannot use the metadata: it has over ${MAX_METADATA} bytes as JSON`;
  return new StorageError('too_large', message);
}

function parseMetadata(metadata: unknown): Record<string, unknown> {
  if (metadata === undefined) return {};
  try {
    const text = JSON.stringify(metadata, (_, value: unknown) => {
      if (typeof value !== 'number' || Number.isFinite(value)) return value;
      throw new StorageError(
        'invalid_input',
        'Cannot use the metadata: it has a number that is none',
      );
    });
    if (Buffer.byteLength(text) > MAX_METADATA) throw tooLargeMetadata();
    const copy: unknown = JSON.parse(text);
    if (copy !== null && typeof copy === 'object' && !Array.isArray(copy)) {
      return copy as Record<string, unknown>;
    }
  } catch (error) {
    if (error instanceof StorageError) throw error;
    // Cycles and the like: the same answer.
  }
  throw new StorageError('invalid_input', 'Cannot use the metadata: it is no JSON object');
}

/** @throws StorageError `invalid_input` */
export function parseFile(path: string, file: FileContent): SourceFile {
  if (typeof file === 'string') return parseFile(path, { content: file });
  if (file instanceof Uint8Array) return { path, content: file, mode: DEFAULT_MODE };
  const { content, encoding = 'utf8', mode = DEFAULT_MODE, ...unknown } = file ?? {};
  const bad = (problem: string) =>
    new StorageError('invalid_input', `Cannot use file ${JSON.stringify(path)}: ${problem}`);
  const [other] = Object.keys(unknown);
  if (other !== undefined)
    throw bad(`it has a member ${JSON.stringify(other.slice(0, 100))} that nobody knows`);
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw bad('its mode is no mode');
  if (content instanceof Uint8Array) return { path, content, mode };
  if (typeof content !== 'string') throw bad('its content is neither text nor bytes');
  // Half of a surrogate pair would be stored as another letter.
  if (encoding === 'utf8' && !content.isWellFormed()) throw bad('its content is no whole Unicode');
  if (encoding === 'utf8') return { path, content: Buffer.from(content), mode };
  if (encoding !== 'base64') throw bad('its encoding is neither "utf8" nor "base64"');
  if (content.length % 4 !== 0 || !BASE64.test(content)) throw bad('its content is not base64');
  const bytes = Buffer.from(content, 'base64');
  // Bits that no byte has would be dropped.
  if (bytes.toString('base64') !== content) throw bad('its content is not base64');
  return { path, content: bytes, mode };
}
