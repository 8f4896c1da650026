import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import { folderName, parseFolderName, type Ref } from '../contract.ts';
import { listFolder } from '../disk/list-folder.ts';

/** Everything of ours that is no project: a name that no project id can have. */
export const OWN_FOLDER = '.codebegen-storage';

/** Where things are under `FILE_STORAGE_PATH`. */
export class Layout {
  /** Absolute. */
  readonly root: string;
  /** Everything of ours that is no project. */
  readonly own: string;

  /** @param own elsewhere, where nothing can be written below the root */
  constructor(root: string, own = join(root, OWN_FOLDER)) {
    this.root = root;
    this.own = own;
  }

  /** Whether nothing below the root is written: what is ours is elsewhere. */
  get isApart(): boolean {
    return this.own !== join(this.root, OWN_FOLDER);
  }

  /** Where a path of the store is, seen from the real path of its root. */
  placeOf(path: string): { root: string; path: string } {
    return { root: realpathSync(this.root), path: relative(this.root, path) };
  }

  get catalog(): string {
    return join(this.own, 'catalog.sqlite');
  }
  /** Ties the catalog to the disk. */
  get epoch(): string {
    return join(this.own, 'epoch');
  }
  /** One folder for each running instance, for what is not whole yet or not gone yet. */
  get staging(): string {
    return join(this.own, 'staging');
  }
  /** Held by the one process that is just opening the catalog. */
  get openLock(): string {
    return join(this.own, 'open.lock');
  }
  /** One locked file for each running instance. */
  get instances(): string {
    return join(this.own, 'instances');
  }

  /** Room that is given back on a full disk. */
  get reserve(): string {
    return join(this.own, 'reserve');
  }

  /** Journals of replacements that are under way. */
  get replacing(): string {
    return join(this.own, 'replacing');
  }

  /** What was deleted and can be had back. */
  get trash(): string {
    return join(this.own, 'trash');
  }
  /** @param digest of content that was replaced; `null`: all of a generation that was deleted */
  trashed(ref: Ref, digest: string | null): string {
    return join(this.trash, digest === null ? nameOf(ref) : `${nameOf(ref)}.${digest}`);
  }

  /** Signs this host's own download URLs. */
  get urlKey(): string {
    return join(this.own, 'url-key');
  }

  /** Who is told of what happens: a file each. */
  get webhooks(): string {
    return join(this.own, 'webhooks');
  }

  /** Where second copies go: a file each. */
  get replicas(): string {
    return join(this.own, 'replicas');
  }

  /** Where the Python system put a generation that it packed. */
  oldArchive(ref: Ref): string {
    return join(this.project(ref.projectId), 'archive', `${folderName(ref)}.tar.gz`);
  }

  project(projectId: string): string {
    return join(this.root, projectId);
  }
  generations(projectId: string): string {
    return join(this.project(projectId), 'generations');
  }
  /** What is known of the project itself. Not beside its generations: files of users may lie there. */
  projectFile(projectId: string): string {
    return join(this.generations(projectId), 'project.json');
  }
  /** The marks of what was deleted. */
  tombstones(projectId: string): string {
    return join(this.generations(projectId), 'tombstones.jsonl');
  }
  /** The link to the active generation. */
  active(projectId: string): string {
    return join(this.generations(projectId), 'active');
  }
  journal(ref: Ref): string {
    return join(this.replacing, `${nameOf(ref)}.json`);
  }
  /** Those of a project whose folders are there. */
  listRefs(projectId: string): Ref[] {
    return listFolder(this.generations(projectId)).flatMap((name) => {
      const parsed = parseFolderName(name);
      return parsed === null ? [] : [{ projectId, ...parsed }];
    });
  }
  generation(ref: Ref): string {
    return join(this.generations(ref.projectId), folderName(ref));
  }
}

/** Hashed: two long ids are longer than a file's name may be. */
function nameOf(ref: Ref): string {
  return createHash('sha256')
    .update(`${ref.projectId}/${folderName(ref)}`)
    .digest('hex');
}

/** What a save lays a content down as. */
export const tarName = (digest: string) => `archive.${digest.slice(0, 12)}.tar`;

/** What is in the folder of a generation, staged or in place. */
export const inGeneration = {
  manifest: (folder: string) => join(folder, 'manifest.json'),
  archive: (folder: string) => join(folder, 'archive.tar.gz'),
  /** What a save laid down, until the archive is made of it. */
  tar: (folder: string, digest: string) => join(folder, tarName(digest)),
  /** The same, before it is whole and has its name. */
  stagedTar: (folder: string) => join(folder, 'archive.tar'),
  /** What the archive is, and where its blocks are. */
  archiveFacts: (folder: string) => join(folder, 'archive.json'),
  source: (folder: string) => join(folder, 'source'),
  artifacts: (folder: string) => join(folder, 'artifacts'),
  /** Says that the tree is there, whole. */
  tree: (folder: string) => join(folder, 'tree.json'),
};

/** The tars in the folder of a generation, by their names: one, or none. */
export function listTars(folder: string): string[] {
  return listFolder(folder).filter((name) => /^archive\.[0-9a-f]{12}\.tar$/.test(name));
}
