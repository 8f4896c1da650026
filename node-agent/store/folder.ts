import { lstatSync, realpathSync, statSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { isReserved, type Limits, StorageError } from '../contract.ts';
import { walk } from '../disk/walk.ts';
import { Exclusion } from './exclude.ts';
import { type LeftOut, LeftOutCount, type LeftOutReason } from './left-out.ts';
import type { FileOnDisk, FolderSource } from './source.ts';

/**
 * Lists the files of a folder that a save takes: all of them, but what is left out.
 *
 * @throws StorageError `invalid_input` that names a path, `too_large`, `conflict` where the folder
 *   changes meanwhile
 */
export function findInFolder(
  source: FolderSource,
  limits: Limits,
): { files: FileOnDisk[]; leftOut: LeftOut } {
  checkFolder(source.folder);
  // By their real paths: the folder, or what is to be left out, may be reached through a link.
  const root = realPathOrNull(source.folder);
  if (root === null) throw wentAway(source.folder, source.folder);
  const search = new Search(root, source, limits);
  search.run();
  return { files: search.files, leftOut: search.leftOut.all };
}

class Search {
  readonly files: FileOnDisk[] = [];
  readonly leftOut = new LeftOutCount();
  readonly #root: string;
  readonly #source: FolderSource;
  readonly #limits: Limits;
  readonly #own: OwnPaths;
  readonly #exclusion: Exclusion;
  readonly #seen = { count: 0 };

  constructor(root: string, source: FolderSource, limits: Limits) {
    this.#root = root;
    this.#source = source;
    this.#limits = limits;
    this.#own = new OwnPaths(source.own);
    this.#exclusion = new Exclusion(root, source.exclude);
  }

  run(): void {
    const own = this.#own.around(this.#root);
    if (own !== null) {
      throw new StorageError(
        'invalid_input',
        `Cannot save "${this.#source.folder}": it is the agent's own ("${own}")`,
      );
    }
    try {
      this.#search('', '', [this.#root]);
    } catch (error) {
      const { code, path } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
      throw wentAway(this.#source.folder, path ?? this.#source.folder);
    }
  }

  /**
   * @param at the folder, relative to the root
   * @param as under which path its files are saved
   * @param through the real paths of the folders around it, itself included
   */
  #search(at: string, as: string, through: readonly string[]): void {
    const skip = new Set(at === '' ? this.#source.skip : []);
    const passes = (path: string, isFolder: boolean) =>
      skip.has(path) || this.#leavesOut(posix.join(at, path), posix.join(as, path), isFolder);
    const options = { limits: this.#limits, passes, seen: this.#seen };
    for (const { path, kind } of walk(join(this.#root, at), options)) {
      const saved = posix.join(as, path);
      if (kind === 'file') this.#add(saved, posix.join(at, path));
      else if (kind === 'link') this.#meetLink(posix.join(at, path), saved, through);
      else if (kind === 'special') this.leftOut.add(saved, 'special');
      else if (kind === 'unnamed') this.#meetUnnamed(saved);
    }
  }

  #add(path: string, at: string): void {
    this.files.push({ path, place: { root: this.#root, path: at } });
  }

  #meetUnnamed(path: string): void {
    if (this.#source.skip === undefined) throw refuse(path, 'its name is not UTF-8');
    this.leftOut.add(path, 'unnamed');
  }

  #leavesOut(at: string, as: string, isFolder: boolean): boolean {
    const reason = this.#reasonFor(at, as, isFolder);
    if (reason !== null) this.leftOut.add(as, reason);
    return reason !== null;
  }

  #reasonFor(at: string, as: string, isFolder: boolean): LeftOutReason | null {
    if (this.#own.has(join(this.#root, at))) return 'own';
    if (isReserved(as)) return 'reserved';
    return this.#isExcluded(at, as, isFolder) ? 'excluded' : null;
  }

  #isExcluded(at: string, as: string, isFolder: boolean): boolean {
    // What a link leads to has two names: each of them may be one that is left out.
    return [...new Set([as, at])].some((path) => this.#exclusion.excludes(path, isFolder));
  }

  #meetLink(at: string, as: string, through: readonly string[]): void {
    const { links } = this.#source;
    if (links === 'error') throw refuse(as, 'it is a symbolic link (--links skip leaves it out)');
    if (links === 'skip') this.leftOut.add(as, 'link');
    else this.#follow(at, as, through);
  }

  #follow(at: string, as: string, through: readonly string[]): void {
    const target = realPathOrNull(join(this.#root, at));
    if (target === null) throw refuse(as, 'it is a symbolic link that leads nowhere');
    if (!`${target}/`.startsWith(`${this.#root}/`)) {
      throw refuse(as, 'it is a symbolic link that leads out of the folder');
    }
    const inside = relative(this.#root, target);
    const stat = statSync(target);
    if (through.some((folder) => `${folder}/`.startsWith(`${target}/`))) {
      throw refuse(as, 'it is a symbolic link to a folder that it lies in');
    }
    if (this.#leavesOut(inside, as, stat.isDirectory())) return;
    if (stat.isFile()) this.#add(as, inside);
    else if (!stat.isDirectory()) this.leftOut.add(as, 'special');
    else this.#search(inside, as, [...through, target]);
  }
}

/** Folders and files of the agent's own, whatever links lead to them. */
class OwnPaths {
  readonly #paths: ReadonlySet<string>;
  readonly #inodes: ReadonlySet<string>;

  constructor(paths: readonly string[]) {
    this.#paths = new Set(paths.map((path) => realPathOrNull(path) ?? path));
    // A secret has the same bytes under each of its names.
    this.#inodes = new Set([...this.#paths].flatMap((path) => inodeOf(path) ?? []));
  }

  has(path: string): boolean {
    if (this.#paths.has(path)) return true;
    const inode = this.#inodes.size === 0 ? null : inodeOf(path);
    return inode !== null && this.#inodes.has(inode);
  }

  /** The one that a folder is, or lies in; `null` where it does not. */
  around(folder: string): string | null {
    return [...this.#paths].find((path) => `${folder}/`.startsWith(`${path}/`)) ?? null;
  }
}

/** Of a file alone: folders have one name. */
function inodeOf(path: string): string | null {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.nlink > 1 ? `${stat.dev}:${stat.ino}` : null;
}

function wentAway(folder: string, path: string): StorageError {
  return new StorageError(
    'conflict',
    `Cannot save "${folder}": "${path}" went away while it was read. Save again once nothing writes there`,
  );
}

function checkFolder(folder: string): void {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return;
  const state = stat === undefined ? 'there is no such folder' : 'it is no folder';
  throw new StorageError('invalid_input', `Cannot save "${folder}": ${state}`);
}

function realPathOrNull(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

function refuse(path: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot use path ${JSON.stringify(path)}: ${problem}`);
}
