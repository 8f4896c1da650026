/**
 * Old flat projects: a folder of files where a project's folder would be, without a manifest. Read
 * as project = generation = the folder's name, version 1. Anything may lie in it.
 */
import { lstatSync, opendirSync } from 'node:fs';
import { join } from 'node:path';
import {
  comparePaths,
  type Limits,
  type Manifest,
  parseFolderName,
  type Ref,
} from '../../contract.ts';
import { findInFolder } from '../folder.ts';
import { inGeneration, Layout } from '../layout.ts';
import type { LeftOut } from '../left-out.ts';

/** What a project's folder holds beside the old files where it has generations with versions. */
const OWN_NAMES: ReadonlySet<string> = new Set(['generations', 'archive']);
const NONE: ReadonlySet<string> = new Set();

/** The generation that a flat project is. */
export function flatRef(projectId: string): Ref {
  return { projectId, version: 1, generationId: projectId };
}

/** Whether a ref may name a flat project. */
export function mayBeFlat({ projectId, version, generationId }: Ref): boolean {
  return version === 1 && generationId === projectId;
}

/** Whether a project's folder holds a flat project. One that is a link does not: it leads elsewhere. */
export function isFlat(layout: Layout, projectId: string): boolean {
  const own = ownNames(layout, projectId);
  return holdsOther(layout.project(projectId), own);
}

/** What of a project's folder is a flat project, as it is read. */
export function* listFlat(layout: Layout, projectId: string): Generator<string> {
  const own = ownNames(layout, projectId);
  for (const name of namesIn(layout.project(projectId))) if (!own.has(name)) yield name;
}

function ownNames(layout: Layout, projectId: string): ReadonlySet<string> {
  const isOurs = isThere(layout.generations(projectId)) || holdsArchives(layout, projectId);
  return isOurs ? OWN_NAMES : NONE;
}

/** Whether the Python system archived generations of a project, all of them maybe. */
function holdsArchives(layout: Layout, projectId: string): boolean {
  for (const name of namesIn(join(layout.project(projectId), 'archive'))) {
    if (name.endsWith(ARCHIVE) && parseFolderName(name.slice(0, -ARCHIVE.length)) !== null)
      return true;
  }
  return false;
}

const ARCHIVE = '.tar.gz';

/** What may lie beside `source/` without being a file of the project. */
const BESIDE_SOURCE: ReadonlySet<string> = new Set(['source', 'artifacts', 'manifest.json']);

/** Where the files of a flat project are: in its `source/` where it has one, and no files beside it. */
export function flatSource(layout: Layout, projectId: string): string {
  const folder = layout.project(projectId);
  const source = inGeneration.source(folder);
  const others = new Set([...BESIDE_SOURCE, ...ownNames(layout, projectId)]);
  return isFolder(source) && !holdsOther(folder, others) ? source : folder;
}

export type Described = Readonly<{ manifest: Manifest; leftOut: LeftOut }>;

/**
 * Says what the manifest of a flat project would, and what is left out of it: what a save of the folder
 * would leave out too.
 *
 * @throws StorageError `too_large` where it holds more than a generation may
 */
export function describeFlat(input: {
  root: string;
  projectId: string;
  limits: Limits;
}): Described {
  const { root, projectId, limits } = input;
  const layout = new Layout(root);
  const { files, leftOut } = findInFolder(
    {
      kind: 'folder',
      folder: flatSource(layout, projectId),
      exclude: { patterns: [], defaults: true, gitignore: false },
      links: 'skip',
      own: [],
      skip: [...ownNames(layout, projectId)],
    },
    limits,
  );
  let bytes = 0;
  let oldest = Number.POSITIVE_INFINITY;
  for (const { place } of files) {
    const stat = lstatSync(join(place.root, place.path));
    bytes += stat.size;
    oldest = Math.min(oldest, stat.mtimeMs);
  }
  const { version, generationId } = flatRef(projectId);
  const manifest = {
    generation_id: generationId,
    project_id: projectId,
    version,
    created_at: new Date(Number.isFinite(oldest) ? oldest : 0).toISOString(),
    file_count: files.length,
    total_size_bytes: bytes,
    files: files.map(({ path }) => path).sort(comparePaths),
    metadata: {},
  };
  return { manifest, leftOut };
}

function holdsOther(folder: string, known: ReadonlySet<string>): boolean {
  for (const name of namesIn(folder)) if (!known.has(name)) return true;
  return false;
}

/** One after another: there may be millions. None where it is no folder, or a link to one. */
function* namesIn(folder: string): Generator<string> {
  if (!isFolder(folder)) return;
  const opened = opendirSync(folder);
  try {
    for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) yield entry.name;
  } finally {
    opened.closeSync();
  }
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
