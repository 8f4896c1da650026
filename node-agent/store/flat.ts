/**
 * Old flat projects: a folder of files where a project's folder would be, without a manifest. Read
 * as project = generation = the folder's name, version 1.
 */
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { comparePaths, type Manifest, type Ref } from '../contract.ts';
import { inGeneration, type Layout } from './layout.ts';

/** What a project's folder holds beside the old files where it has generations with versions. */
const OWN_NAMES = new Set(['generations', 'archive']);

/** The generation that a flat project is. */
export function flatRef(projectId: string): Ref {
  return { projectId, version: 1, generationId: projectId };
}

/** Whether a ref may name a flat project. */
export function mayBeFlat({ projectId, version, generationId }: Ref): boolean {
  return version === 1 && generationId === projectId;
}

/** What of a project's folder is a flat project; nothing where it is none. */
export function listFlat(layout: Layout, projectId: string): string[] {
  const folder = layout.project(projectId);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return [];
  const names = readdirSync(folder);
  return names.includes('generations') ? names.filter((name) => !OWN_NAMES.has(name)) : names;
}

/** What may lie beside `source/` without being a file of the project. */
const BESIDE_SOURCE = new Set(['source', 'artifacts', 'manifest.json']);

/** Where the files of a flat project are: in its `source/` where it has one, and no files beside it. */
export function flatSource(layout: Layout, projectId: string): string {
  const folder = layout.project(projectId);
  const source = inGeneration.source(folder);
  const isFolder = statSync(source, { throwIfNoEntry: false })?.isDirectory() === true;
  const others = listFlat(layout, projectId).some((name) => !BESIDE_SOURCE.has(name));
  return isFolder && !others ? source : folder;
}

/**
 * What of a flat project is passed over when it is read: links, devices, and names that are not
 * UTF-8. Absolute paths.
 */
export function passedOver(layout: Layout, projectId: string): string[] {
  const source = flatSource(layout, projectId);
  const top =
    source === layout.project(projectId) ? listFlat(layout, projectId) : readdirSync(source);
  return top.flatMap((name) => {
    const path = join(source, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isFile()) return [];
    if (!stat?.isDirectory()) return [path];
    return readdirSync(path, { recursive: true, withFileTypes: true })
      .map((entry) => ({ entry, inside: join(entry.parentPath, entry.name) }))
      .filter(
        ({ entry, inside }) => !(entry.isFile() || entry.isDirectory()) || !existsSync(inside),
      )
      .map(({ inside }) => inside);
  });
}

/** What its manifest would say. Links and devices are passed over. */
export function describeFlat(layout: Layout, projectId: string): Manifest {
  const source = flatSource(layout, projectId);
  const files: string[] = [];
  let bytes = 0;
  let oldest = Number.POSITIVE_INFINITY;
  const whole = source === layout.project(projectId);
  for (const name of whole ? listFlat(layout, projectId) : readdirSync(source)) {
    for (const file of filesBelow(join(source, name))) {
      const stat = statSync(file);
      files.push(relative(source, file));
      bytes += stat.size;
      oldest = Math.min(oldest, stat.mtimeMs);
    }
  }
  const { version, generationId } = flatRef(projectId);
  return {
    generation_id: generationId,
    project_id: projectId,
    version,
    created_at: new Date(Number.isFinite(oldest) ? oldest : 0).toISOString(),
    file_count: files.length,
    total_size_bytes: bytes,
    files: files.sort(comparePaths),
    metadata: {},
  };
}

function filesBelow(path: string): string[] {
  // A link is passed over: it may lead anywhere on this host.
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat?.isFile()) return [path];
  if (!stat?.isDirectory()) return [];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
