/** What is to be saved: where its files come from. */
import type { ManifestEntry } from '../contract.ts';
import type { Place } from '../disk/read-file.ts';
import type { ExcludeRules } from './exclude.ts';
import type { LeftOut } from './left-out.ts';

/**
 * What becomes of a symbolic link: it is left out and counted, or nothing is saved, or what it leads to
 * is saved in its place, where that lies in the same folder.
 */
export type LinkPolicy = 'skip' | 'error' | 'follow';
export const LINK_POLICIES: readonly LinkPolicy[] = ['skip', 'error', 'follow'];

/** A file that a caller hands over. */
export type SourceFile = Readonly<{ path: string; content: Uint8Array; mode: number }>;

/** Where the files of a save come from. It crosses to a worker thread. */
export type Source = ReadSource | DraftSource;

/** One whose files are read, and hashed, when it is saved. */
export type ReadSource =
  | Readonly<{ kind: 'files'; files: readonly SourceFile[] }>
  | ListedSource
  | FolderSource;

/** A staging folder of ours whose tar has the files already: it is finished in place. */
export type DraftSource = Readonly<{
  kind: 'draft';
  folder: string;
  /** The tar's descriptor, which threads share. It is open until the save has ended. */
  fd: number;
  /** Where in the tar the next entry goes. */
  end: number;
  /** In no order. */
  entries: readonly ManifestEntry[];
  leftOut: LeftOut;
}>;

/** A file that lies somewhere already. Its mode is its own where it is not given. */
export type NamedFile = Readonly<{ path: string; mode?: number }>;

/** Files that a manifest names, without those beside them. The folder is relative to the root. */
export type ListedSource = Readonly<{
  kind: 'listed';
  root: string;
  folder: string;
  files: readonly NamedFile[];
}>;

/** All of a folder, but what is left out. */
export type FolderSource = Readonly<{
  kind: 'folder';
  /** Absolute. */
  folder: string;
  exclude: ExcludeRules;
  links: LinkPolicy;
  /** Absolute paths of the agent's own folders and files: they are never part of a save. */
  own: readonly string[];
  /**
   * Names at the top that are none of it, where the folder is an old project; a name that is not UTF-8
   * is left out of that too. Else such a name is refused.
   */
  skip?: readonly string[];
}>;

/** A file on disk. Its mode is its own where it is not given. */
export type FileOnDisk = Readonly<{ path: string; place: Place; mode?: number }>;
