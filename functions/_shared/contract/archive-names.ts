import { StorageError } from './errors.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { PathSet } from './paths.ts';
import { parseFolderName } from './ref.ts';

/** The folders of a generation that hold files. */
export type Folder = 'source' | 'artifacts';

/** What an entry of an archive is: the manifest, or a file at a path inside its folder. */
export type ArchiveName =
  | Readonly<{ folder: null; path: 'manifest.json' }>
  | Readonly<{ folder: Folder; path: string }>;

/**
 * Reads the names of an archive's files, one after another, in their order. None is trusted: each
 * is the manifest or passes the validator. Archives of the Python system hold one folder around
 * everything, which is left off.
 */
export class ArchiveNames {
  readonly #paths: Record<Folder, PathSet>;
  #wrapper: string | null | undefined;
  #hasManifest = false;

  constructor(limits: Limits = DEFAULT_LIMITS) {
    this.#paths = { source: new PathSet(limits), artifacts: new PathSet(limits) };
  }

  /** @throws StorageError `invalid_input` that names the entry, `too_large` for the count */
  read(entryName: string): ArchiveName {
    // The first entry decides.
    if (this.#wrapper === undefined) this.#wrapper = wrapperOf(entryName);
    const name = unwrap(entryName, this.#wrapper);
    if (name === 'manifest.json') {
      if (this.#hasManifest) throw refuse(entryName, 'it is there twice');
      this.#hasManifest = true;
      return { folder: null, path: name };
    }
    const folder = name.startsWith('source/') ? 'source' : 'artifacts';
    if (!name.startsWith(`${folder}/`)) {
      throw refuse(entryName, 'it belongs to no part of a generation');
    }
    const path = name.slice(folder.length + 1);
    this.#paths[folder].add(path);
    return { folder, path };
  }

  /** Counts an entry that is no file. @throws StorageError `too_large` */
  passOver(): void {
    this.#paths.source.passOver();
  }
}

/** The name that a file of a generation has in an archive and in a zip. */
export function entryNameOf({ folder, path }: ArchiveName): string {
  return folder === null ? path : `${folder}/${path}`;
}

/** The folder that the Python system put around everything; `null` where there is none. */
function wrapperOf(name: string): string | null {
  const first = name.split('/')[0] ?? '';
  return parseFolderName(first) === null ? null : `${first}/`;
}

function unwrap(name: string, wrapper: string | null): string {
  if (wrapper === null) return name;
  if (!name.startsWith(wrapper)) throw refuse(name, `it lies beside the folder "${wrapper}"`);
  return name.slice(wrapper.length);
}

function refuse(name: string, problem: string): StorageError {
  return new StorageError('invalid_input', `Cannot unpack ${JSON.stringify(name)}: ${problem}`);
}
