import { StorageError } from './errors.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { isReserved, PathSet, RESERVED_FOLDER } from './paths.ts';
import { parseFolderName } from './ref.ts';

/** The folders of a generation that hold files. */
export type Folder = 'source' | 'artifacts';

/** What an entry of an archive is: the manifest, or a file at a path inside its folder. */
export type ArchiveName =
  | Readonly<{ folder: null; path: 'manifest.json' }>
  | Readonly<{ folder: Folder; path: string }>;

const MANIFEST = `${RESERVED_FOLDER}/manifest.json`;
const ARTIFACTS = `${RESERVED_FOLDER}/artifacts/`;

/** The name that a file of a generation has in an archive and in a zip: what a person unpacks. */
export function entryNameOf({ folder, path }: ArchiveName): string {
  if (folder === null) return MANIFEST;
  return folder === 'source' ? path : `${ARTIFACTS}${path}`;
}

/**
 * Reads the names of an archive's files, one after another, in their order. None is trusted: each
 * is the manifest or passes the validator. The first decides how the others are read: in an archive
 * of ours it is the manifest, in one of the Python system it lies in the folder around everything.
 */
export class ArchiveNames {
  readonly #paths: Record<Folder, PathSet>;
  #readName: ((entryName: string) => ArchiveName) | null = null;
  #hasManifest = false;

  /** @param options.isOurs whether it is one of ours, whatever comes first in it */
  constructor(limits: Limits = DEFAULT_LIMITS, { isOurs = false } = {}) {
    if (isOurs) this.#readName = readOurs;
    this.#paths = { source: new PathSet(limits), artifacts: new PathSet(limits) };
  }

  /**
   * @returns `null` for a file of the Python system that has no place in an archive of ours
   * @throws StorageError `invalid_input` that names the entry, `too_large` for the count
   */
  read(entryName: string): ArchiveName | null {
    this.#readName ??= layoutOf(entryName);
    const name = this.#readName(entryName);
    if (name.folder === null) {
      if (this.#hasManifest) throw refuse(entryName, 'it is there twice');
      this.#hasManifest = true;
      return name;
    }
    if (this.#readName !== readOurs && isReserved(name.path)) {
      this.passOver();
      return null;
    }
    this.#paths[name.folder].add(name.path);
    return name;
  }

  /** Counts an entry that is no file. @throws StorageError `too_large` */
  passOver(): void {
    this.#paths.source.passOver();
  }
}

function layoutOf(first: string): (entryName: string) => ArchiveName {
  if (first === MANIFEST) return readOurs;
  const [folder = ''] = first.split('/');
  if (parseFolderName(folder) === null) {
    throw refuse(first, `no archive of a generation begins with it, but with "${MANIFEST}"`);
  }
  return (entryName) => readPython(entryName, `${folder}/`);
}

function readOurs(entryName: string): ArchiveName {
  if (entryName === MANIFEST) return { folder: null, path: 'manifest.json' };
  if (entryName.startsWith(ARTIFACTS)) {
    return { folder: 'artifacts', path: entryName.slice(ARTIFACTS.length) };
  }
  return { folder: 'source', path: entryName };
}

function readPython(entryName: string, wrapper: string): ArchiveName {
  if (!entryName.startsWith(wrapper)) {
    throw refuse(entryName, `it lies beside the folder "${wrapper}"`);
  }
  const name = entryName.slice(wrapper.length);
  if (name === 'manifest.json') return { folder: null, path: name };
  const folder = name.startsWith('source/') ? 'source' : 'artifacts';
  if (!name.startsWith(`${folder}/`)) {
    throw refuse(entryName, 'it belongs to no part of a generation');
  }
  return { folder, path: name.slice(folder.length + 1) };
}

function refuse(name: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot unpack ${JSON.stringify(name)}: ${problem}`);
}
