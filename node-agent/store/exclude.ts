import { closeSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import ignore, { type Ignore } from 'ignore';
import { StorageError } from '../contract.ts';
import { NotAFile, openInside } from '../disk/open-inside.ts';

/** What of a folder is left out of a save, beside what is the agent's own. */
export type ExcludeRules = Readonly<{
  /** In the syntax of `.gitignore`. */
  patterns: readonly string[];
  /** Whether {@link DEFAULT_EXCLUDES} are left out. */
  defaults: boolean;
  /** Whether the `.gitignore` files in the folder are obeyed. */
  gitignore: boolean;
}>;

/** Made anew by whoever has the files: never what a project is made of. */
export const DEFAULT_EXCLUDES = ['.git', 'node_modules', '.venv', '__pycache__'];

const OWN_FILE = '.codebegenignore';
const GIT_FILE = '.gitignore';

/** Bytes of one such file. */
const MAX_FILE_BYTES = 64 * 1024;
/** Of one pattern. To match a name takes as many steps as its length to the power of these. */
const MAX_WILDCARDS = 4;
/** Characters of one pattern. */
const MAX_PATTERN = 1024;
/** How long all names of a folder may take, in milliseconds. */
const MAX_MATCHING_MS = 10_000;

/**
 * Tells what is left out of a folder by patterns: those that the caller gave, and those of the
 * `.codebegenignore` files in it. As with git, a file that lies deeper has the last word, and nothing
 * comes back of a folder that is left out.
 */
export class Exclusion {
  readonly #root: string;
  readonly #rules: ExcludeRules;
  readonly #given: Ignore;
  readonly #inFolder = new Map<string, Ignore | null>();
  #matchingMs = 0;

  /** @param root absolute, and its own real path */
  constructor(root: string, rules: ExcludeRules) {
    this.#root = root;
    this.#rules = rules;
    const defaults = rules.defaults ? DEFAULT_EXCLUDES : [];
    this.#given = makeMatcher([...defaults, ...rules.patterns], 'the patterns');
  }

  /** @throws StorageError `invalid_input` that names a file of patterns which cannot be used */
  excludes(path: string, isFolder: boolean): boolean {
    const began = performance.now();
    try {
      return this.#excludes(path, isFolder);
    } finally {
      this.#matchingMs += performance.now() - began;
    }
  }

  #excludes(path: string, isFolder: boolean): boolean {
    if (this.#matchingMs > MAX_MATCHING_MS) {
      throw new StorageError(
        'invalid_input',
        `Cannot save "${this.#root}": its patterns take over ${MAX_MATCHING_MS / 1000} s to match; use simpler ones`,
      );
    }
    const slash = isFolder ? '/' : '';
    if (this.#given.ignores(path + slash)) return true;
    for (let folder = posix.dirname(path); ; folder = posix.dirname(folder)) {
      const isTop = folder === '.';
      const relative = isTop ? path : path.slice(folder.length + 1);
      const { ignored = false, unignored = false } =
        this.#matcherOf(isTop ? '' : folder)?.test(relative + slash) ?? {};
      if (ignored || unignored || isTop) return ignored;
    }
  }

  #matcherOf(folder: string): Ignore | null {
    let matcher = this.#inFolder.get(folder);
    if (matcher === undefined) {
      matcher = this.#readMatcher(folder);
      this.#inFolder.set(folder, matcher);
    }
    return matcher;
  }

  #readMatcher(folder: string): Ignore | null {
    const names = this.#rules.gitignore ? [GIT_FILE, OWN_FILE] : [OWN_FILE];
    const found = names.flatMap((name) => {
      const path = posix.join(folder, name);
      const text = readPatterns(this.#root, path);
      return text === null ? [] : [{ path, text }];
    });
    if (found.length === 0) return null;
    const lines = found.flatMap(({ text }) => text.split(/\r?\n/));
    return makeMatcher(lines, found.map(({ path }) => JSON.stringify(path)).join(' and '));
  }
}

function makeMatcher(patterns: readonly string[], where: string): Ignore {
  const tooMany = patterns.find((pattern) => countWildcards(pattern) > MAX_WILDCARDS);
  if (tooMany !== undefined) {
    throw new StorageError(
      'invalid_input',
      `Cannot use ${where}: ${JSON.stringify(tooMany.slice(0, 200))} has over ${MAX_WILDCARDS} wildcards`,
    );
  }
  const tooLong = patterns.find((pattern) => pattern.length > MAX_PATTERN);
  if (tooLong !== undefined) {
    throw new StorageError(
      'invalid_input',
      `Cannot use ${where}: ${JSON.stringify(`${tooLong.slice(0, 200)}…`)} has over ${MAX_PATTERN} characters`,
    );
  }
  try {
    // Git tells upper case from lower, where the file system does.
    const matcher = ignore({ ignorecase: false }).add(patterns);
    // Each is made ready at its first use.
    matcher.test('a name');
    return matcher;
  } catch (cause) {
    const message = `Cannot use ${where}: it has a pattern that is none`;
    throw new StorageError('invalid_input', message, { cause });
  }
}

/** `**` is one. */
function countWildcards(pattern: string): number {
  return pattern.startsWith('#') ? 0 : (pattern.match(/\*+/g)?.length ?? 0);
}

/** `null` where there is no such file. */
function readPatterns(root: string, path: string): string | null {
  let fd: number;
  try {
    fd = openInside(root, path);
  } catch (error) {
    if (!(error instanceof NotAFile)) throw error;
    if (error.problem === 'missing') return null;
    // What it excludes would be saved.
    throw refuse(path, `it is ${error.problem}`);
  }
  try {
    const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(fd, bytes, length, bytes.length - length, null);
    }
    if (length > MAX_FILE_BYTES) throw refuse(path, `it has over ${MAX_FILE_BYTES} bytes`);
    return decode(bytes.subarray(0, length), path);
  } finally {
    closeSync(fd);
  }
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // The same answer.
  }
  throw refuse(path, 'it is not in UTF-8');
}

function refuse(path: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use ${JSON.stringify(path)}: ${problem}`);
}
