/** What the Python system left under `FILE_STORAGE_PATH`. Reads names and manifests alone. */
import { existsSync, lstatSync, opendirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  isComplete,
  isId,
  type Manifest,
  parseFolderName,
  type Ref,
  StorageError,
} from '../contract.ts';
import { readManifest as readManifestAt } from '../disk/read-manifest.ts';
import { archiveIn } from '../store/lay-out.ts';
import { inGeneration, Layout, OWN_FOLDER } from '../store/layout.ts';
import { flatRef, isFlat } from '../store/legacy/flat.ts';
import { Tombstones } from '../store/tombstones.ts';

/**
 * A generation on disk.
 *
 * - `versioned`: in a folder of its own, with an old manifest
 * - `flat`: files beside each other in the project's folder
 * - `archived`: a tar.gz in the project's `archive/`
 * - `ours`: with hashes already, saved or migrated
 */
export type Found = Readonly<{
  kind: 'versioned' | 'flat' | 'archived' | 'ours';
  ref: Ref;
  path: string;
}>;

/** What cannot be migrated as it is. It stays where it lies. */
export type Unfit = Readonly<{ kind: 'unfit'; path: string; reason: string }>;

/**
 * Finds everything, one after another: no list of it is held.
 *
 * @param only one project
 */
export function* findAll(root: string, only: string | null): Generator<Found | Unfit> {
  const layout = new Layout(root);
  const tombstones = new Tombstones(layout);
  for (const name of only === null ? namesIn(root) : [only]) {
    const path = join(root, name);
    if (name === OWN_FOLDER) continue;
    if (isLinkedFolder(path)) yield { kind: 'unfit', path, reason: LINK };
    if (!isFolder(path)) continue;
    if (isId(name)) yield* findInProject(layout, tombstones, name);
    else yield { kind: 'unfit', path, reason: 'its name is no project id' };
  }
}

function* findInProject(
  layout: Layout,
  tombstones: Tombstones,
  projectId: string,
): Generator<Found | Unfit> {
  /** By ours: what lies there is on its way out. */
  const isDeleted = (ref: Ref) => tombstones.find(ref) !== null;
  const versions = new Map<number, string>();
  /** One version, one generation: the other stays readable by its id, and is told of. */
  const taken = (ref: Ref, path: string): Unfit | null => {
    const holder = versions.get(ref.version);
    versions.set(ref.version, holder ?? ref.generationId);
    if (holder === undefined || holder === ref.generationId) return null;
    const reason = `version ${ref.version} is also that of generation "${holder}"`;
    return { kind: 'unfit', path, reason };
  };
  for (const path of [layout.generations(projectId), join(layout.project(projectId), 'archive')]) {
    if (isLinkedFolder(path)) yield { kind: 'unfit', path, reason: LINK };
  }
  for (const name of listFolder(layout.generations(projectId))) {
    const path = join(layout.generations(projectId), name);
    const parsed = parseFolderName(name);
    if (parsed !== null && isLinkedFolder(path)) yield { kind: 'unfit', path, reason: LINK };
    if (name.startsWith('.') || KNOWN.has(name)) continue;
    if (!isFolder(path)) {
      if (!isLinkedFolder(path)) yield { kind: 'unfit', path, reason: 'it is no generation' };
      continue;
    }
    if (parsed === null) {
      yield { kind: 'unfit', path, reason: 'its name is not v{version}__{generation id}' };
      continue;
    }
    const ref = { projectId, ...parsed };
    if (!isDeleted(ref)) yield taken(ref, path) ?? look(layout, ref, path);
  }
  const flat = flatRef(projectId);
  const isFree = !versions.has(flat.version) && !isDeleted(flat);
  if (isFree && isFlat(layout, projectId)) {
    versions.set(flat.version, flat.generationId);
    yield { kind: 'flat', ref: flat, path: layout.project(projectId) };
  }
  const archives = join(layout.project(projectId), 'archive');
  for (const name of isFolder(archives) ? listFolder(archives) : []) {
    const parsed = name.endsWith('.tar.gz')
      ? parseFolderName(name.slice(0, -'.tar.gz'.length))
      : null;
    const path = join(archives, name);
    if (parsed === null) {
      yield { kind: 'unfit', path, reason: 'its name is not v{version}__{generation id}.tar.gz' };
      continue;
    }
    if (lstatSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
      yield { kind: 'unfit', path, reason: 'it is no regular file' };
      continue;
    }
    const ref = { projectId, ...parsed };
    // The folder is there too: what was archived is what it holds.
    if (versions.get(ref.version) === ref.generationId || isDeleted(ref)) continue;
    yield taken(ref, path) ?? { kind: 'archived', ref, path };
  }
}

function look(layout: Layout, ref: Ref, path: string): Found | Unfit {
  // Of ours the tree is a view: it may not be there.
  const isArchived = archiveIn(path) !== null && !existsSync(inGeneration.manifest(path));
  if (isArchived) return { kind: 'ours', ref, path };
  const manifest = readManifest(layout, path);
  if (typeof manifest === 'string') return { kind: 'unfit', path, reason: manifest };
  const { project_id, version, generation_id } = manifest;
  const isOf =
    project_id === ref.projectId && version === ref.version && generation_id === ref.generationId;
  if (!isOf) return { kind: 'unfit', path, reason: 'its manifest is of another generation' };
  return { kind: isComplete(manifest) ? 'ours' : 'versioned', ref, path };
}

/** The manifest, or why there is none. */
function readManifest(layout: Layout, folder: string): Manifest | string {
  const path = inGeneration.manifest(folder);
  try {
    return readManifestAt(layout.placeOf(path));
  } catch (error) {
    if (error instanceof StorageError) return error.message;
    return `it has no manifest.json that can be read (${(error as NodeJS.ErrnoException).code})`;
  }
}

function* namesIn(folder: string): Generator<string> {
  const names = opendirSync(folder);
  try {
    for (let entry = names.readSync(); entry !== null; entry = names.readSync()) yield entry.name;
  } finally {
    names.closeSync();
  }
}

function listFolder(folder: string): string[] {
  return isFolder(folder) ? readdirSync(folder).sort() : [];
}

/** What lies beside generations: the link to the active one, and the owner. */
const KNOWN = new Set(['active', 'project.json', 'tombstones.jsonl']);

/** What only leads elsewhere would not be kept by keeping this disk. */
const LINK = 'it is a symbolic link: put the folder itself in its place';

function isLinkedFolder(path: string): boolean {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return isLink && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
