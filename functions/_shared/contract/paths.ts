/**
 * The one validator of file names. Names come from a generator that writes what a
 * model says, and from archives that somebody may have changed: both are hostile.
 */
import { StorageError } from './errors.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';

const encoder = new TextEncoder();
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const DRIVE = /^[A-Za-z]:/;
const ASCII = /^[\u0000-\u007f]*$/;

/** Says what is wrong with one path; `null` where nothing is. */
export function pathProblem(path: unknown, limits: Limits = DEFAULT_LIMITS): string | null {
  if (typeof path !== 'string') return 'a path is a string';
  if (path === '') return 'it is empty';
  if (!path.isWellFormed()) return 'it is not well-formed Unicode';
  if (CONTROL.test(path)) return 'it holds a control character';
  if (path.includes('\\')) return 'it holds a backslash';
  if (path.startsWith('/')) return 'it is absolute';
  if (DRIVE.test(path)) return 'it begins with a drive';
  if (isLonger(path, limits.pathBytes)) return `it is longer than ${limits.pathBytes} bytes`;
  for (const part of path.split('/')) {
    if (part === '') return 'it has an empty part';
    if (part === '.' || part === '..') return `it has a part "${part}"`;
    if (isLonger(part, limits.partBytes)) {
      return `it has a part longer than ${limits.partBytes} bytes`;
    }
  }
  return null;
}

/** The folder of an archive in which lies what is none of the generation's own files. */
export const RESERVED_FOLDER = '.codebegen';
/** What some file systems pass over when they compare names. */
const IGNORED = /\p{Default_Ignorable_Code_Point}/gu;

/** Whether a path lies where an archive has its manifest, on whatever file system it is unpacked. */
export function isReserved(path: string): boolean {
  const end = path.indexOf('/');
  const first = end === -1 ? path : path.slice(0, end);
  if (ASCII.test(first)) return first.toLowerCase() === RESERVED_FOLDER;
  return foldPath(first.normalize('NFKC').replaceAll(IGNORED, '')) === RESERVED_FOLDER;
}

/**
 * Checks all paths of a generation: each alone, and against each other.
 *
 * @throws StorageError `invalid_input` that names the path, `too_large` for the count
 */
export function checkPaths(paths: readonly string[], limits: Limits = DEFAULT_LIMITS): void {
  const set = new PathSet(limits);
  for (const path of paths) set.add(path);
}

/**
 * The paths of a generation, checked one after another. On some file systems `A` and `a`, or the
 * two Unicode forms of `é`, are one file, so they are here.
 */
export class PathSet {
  readonly #limits: Limits;
  readonly #spellings = new Map<string, { spelling: string; kind: 'file' | 'folder' }>();
  #files = 0;
  #passedOver = 0;

  constructor(limits: Limits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  /** @throws StorageError `invalid_input` that names the path, `too_large` for the count */
  add(path: string): void {
    const problem = pathProblem(path, this.#limits);
    if (problem !== null) throw refuse(path, problem);
    if (isReserved(path)) {
      throw refuse(path, `"${RESERVED_FOLDER}" is kept for what an archive says of itself`);
    }
    this.#files++;
    if (this.#files > this.#limits.files) {
      throw new StorageError(
        'too_large',
        `Cannot take so many files: a generation has at most ${this.#limits.files}`,
      );
    }
    const folded = foldPath(path);
    const known = this.#spellings.get(folded);
    if (known?.kind === 'folder') throw refuse(path, `"${known.spelling}" is also a folder`);
    if (known !== undefined) {
      throw refuse(
        path,
        known.spelling === path
          ? 'it is there twice'
          : `it differs from "${known.spelling}" only in case or Unicode form`,
      );
    }
    this.#note(folded, { spelling: path, kind: 'file' });
    this.#addFolders(path);
  }

  /**
   * Counts what is no file of the generation, and is passed over: without end, it would be a walk
   * without end.
   *
   * @throws StorageError `too_large`
   */
  passOver(): void {
    this.#passedOver++;
    if (this.#passedOver > this.#limits.entries) throw this.#tooMany();
  }

  #note(folded: string, entry: { spelling: string; kind: 'file' | 'folder' }): void {
    if (this.#spellings.size >= this.#limits.entries) throw this.#tooMany();
    this.#spellings.set(folded, entry);
  }

  #tooMany(): StorageError {
    return new StorageError(
      'too_large',
      `Cannot take so many files and folders: a generation has at most ${this.#limits.entries}`,
    );
  }

  #addFolders(path: string): void {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end);
      const folded = foldPath(folder);
      const known = this.#spellings.get(folded);
      if (known?.kind === 'file') throw refuse(path, `"${known.spelling}" is a file, not a folder`);
      if (known !== undefined && known.spelling !== folder) {
        throw refuse(
          path,
          `its folder differs from "${known.spelling}" only in case or Unicode form`,
        );
      }
      // A folder that is known has known parents.
      if (known !== undefined) return;
      this.#note(folded, { spelling: folder, kind: 'folder' });
    }
  }
}

/**
 * Orders paths by their code points, which is the order of their UTF-8 bytes: the same
 * in every language and locale.
 */
export function comparePaths(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates stand for code points above all other UTF-16 units.
    const xHigh = x >= 0xd800 && x <= 0xdfff;
    const yHigh = y >= 0xd800 && y <= 0xdfff;
    return xHigh === yHigh ? x - y : xHigh ? 1 : -1;
  }
  return a.length - b.length;
}

/** Whether a text has more than so many bytes in UTF-8. */
function isLonger(text: string, bytes: number): boolean {
  // Three bytes are the most for a unit of UTF-16: nearly every name is short enough at a glance.
  return text.length * 3 > bytes && encoder.encode(text).length > bytes;
}

/** Case is folded by way of upper case, so that `ſ` and `s`, `ς` and `σ` are one. */
function foldPath(path: string): string {
  // The same as below, in a fraction of the time.
  if (ASCII.test(path)) return path.toLowerCase();
  return path.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}

function refuse(path: unknown, problem: string): StorageError {
  const name = typeof path === 'string' ? path : String(path);
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  return new StorageError('invalid_input', `Cannot use path ${JSON.stringify(shown)}: ${problem}`);
}
