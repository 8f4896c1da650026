import { existsSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import {
  folderName,
  formatRef,
  isId,
  type Limits,
  type Manifest,
  type Ref,
  StorageError,
} from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { findManifest } from '../disk/read-manifest.ts';
import { Active } from './active.ts';
import { Archives } from './archives.ts';
import type { Committed } from './commit.ts';
import { inGeneration, type Layout } from './layout.ts';
import { flatRef, isFlat, mayBeFlat } from './legacy/flat.ts';
import { Legacy } from './legacy/legacy.ts';
import { ProjectFiles } from './project-files.ts';
import { stampOf } from './project-stamp.ts';
import { Removals } from './remove.ts';
import { Replacements } from './replace.ts';
import { type SaveDetails, stageInputOf, withStaging } from './save-details.ts';
import type { ListedSource, Source } from './source.ts';
import type { Digested } from './stage.ts';
import { Staging } from './staging.ts';
import type { OnDisk, StoredGeneration } from './stored-generation.ts';
import { Tombstones } from './tombstones.ts';
import { Trash } from './trash.ts';
import { Trees } from './trees.ts';
import type { StageWork } from './work.ts';

/**
 * Generations on disk: the truth. Nothing here knows of catalog or cloud. Here they are put in place,
 * and found; what else is done with them is in the fields.
 */
export class Store {
  readonly layout: Layout;
  readonly staging: Staging;
  readonly tombstones: Tombstones;
  readonly trash: Trash;
  readonly active: Active;
  readonly projects: ProjectFiles;
  readonly archives: Archives;
  readonly trees: Trees;
  readonly replacements: Replacements;
  readonly removals: Removals;
  readonly legacy: Legacy;
  readonly #limits: Limits;
  readonly #work: StageWork;

  /** @param instanceId names the staging folder that is this process's own */
  constructor(layout: Layout, limits: Limits, instanceId: string, work: StageWork) {
    const staging = new Staging(layout, instanceId);
    this.layout = layout;
    this.staging = staging;
    this.tombstones = new Tombstones(layout);
    this.active = new Active(layout, staging);
    this.projects = new ProjectFiles(layout, staging);
    const parts = { layout, limits, staging, work };
    this.archives = new Archives(parts);
    this.trees = new Trees(parts);
    this.trash = new Trash(layout, staging);
    this.replacements = new Replacements({ ...parts, trash: this.trash });
    this.removals = new Removals(layout, staging, this.tombstones, this.active, this.trash);
    const commit = this.commit.bind(this);
    this.legacy = new Legacy({ ...parts, commit });
    this.#limits = limits;
    this.#work = work;
  }

  /** The digest of what is to be saved. */
  digest(source: Source, artifacts: ListedSource | null): Promise<Digested> {
    return this.#work.digest({ source, artifacts, limits: this.#limits });
  }

  /**
   * Puts a generation on disk for good: when this returns, it survives a power loss. When it
   * throws before the generation is in place, nothing of it is left.
   *
   * @throws StorageError `conflict` where the folder is there already
   */
  commit(ref: Ref, source: Source, details: SaveDetails): Promise<Committed> {
    return withStaging(this.staging, ref, source, (folder) =>
      this.#work.commit({
        ...stageInputOf(ref, source, details, this.#limits),
        folder,
        place: this.layout.generation(ref),
        outermost: this.layout.project(ref.projectId),
      }),
    );
  }

  /** Tells whether a generation is in place. */
  has(ref: Ref): boolean {
    return existsSync(this.layout.generation(ref));
  }

  /** The folder of a generation, also that of a flat project; `null` where nothing of it is there. */
  folderOf(ref: Ref): string | null {
    if (this.has(ref)) return this.layout.generation(ref);
    const { projectId } = ref;
    return mayBeFlat(ref) && isFlat(this.layout, projectId) ? this.layout.project(projectId) : null;
  }

  /**
   * What is on disk of a generation, also of a flat project; `null` where nothing is. Of ours the tree
   * may not be there.
   *
   * @throws StorageError `corrupt`, also where what lies there leads elsewhere
   */
  async find(ref: Ref): Promise<StoredGeneration | null> {
    const path = this.layout.generation(ref);
    const sourcePath = inGeneration.source(path);
    const own = this.archives.findManifest(ref);
    if (own !== null) return { path, sourcePath, manifest: own };
    const manifest = findManifest(this.layout.placeOf(inGeneration.manifest(path)));
    if (manifest !== null) {
      await this.#checkItself(sourcePath);
      return { path, sourcePath, manifest };
    }
    return (await this.legacy.describe(ref))?.generation ?? null;
  }

  /** Refuses a folder that is a link, or lies behind one: what it holds is not of this store. */
  async #checkItself(folder: string): Promise<void> {
    const { root, path } = this.layout.placeOf(folder);
    const real = await realpath(folder).catch(() => null);
    if (real === null || real === join(root, path)) return;
    throw new StorageError(
      'corrupt',
      `Cannot read "${folder}": it is a symbolic link, or lies behind one; put the folder itself in its place`,
    );
  }

  /** @throws StorageError `not_found`, `corrupt` */
  async readManifest(ref: Ref): Promise<Manifest> {
    const found = await this.find(ref);
    if (found !== null) return found.manifest;
    if (!this.has(ref)) refuse(ref);
    const path = this.layout.generation(ref);
    throw new StorageError('corrupt', `Cannot read "${path}": it has neither archive nor manifest`);
  }

  /** Which generation lies on disk under a version; `null` where none does. */
  locate(projectId: string, version: number): Ref | null {
    const found = this.layout.listRefs(projectId).find((ref) => ref.version === version);
    if (found !== undefined) return found;
    const flat = flatRef(projectId);
    const mayBe = version === flat.version && this.tombstones.find(flat) === null;
    return mayBe && isFlat(this.layout, projectId) ? flat : null;
  }

  /** Changes whenever something is put into the folders of a project, or taken out; `null` without them. */
  stampOf(projectId: string): string | null {
    return stampOf(this.layout.generations(projectId));
  }

  /** The names of all projects on disk, in no order. */
  async listProjects(): Promise<string[]> {
    return (await readdir(this.layout.root)).filter(isId);
  }

  /**
   * What is on disk of a project: generations in place, where it is flat that one, and tombstones.
   *
   * @throws StorageError where it cannot be read
   */
  listProject(projectId: string): OnDisk[] {
    try {
      const deleted = this.tombstones.list(projectId);
      const found = this.layout.listRefs(projectId);
      const flat = flatRef(projectId);
      const versionIsTaken = found.some(({ version }) => version === flat.version);
      if (!versionIsTaken && isFlat(this.layout, projectId)) found.push(flat);
      const gone = new Set(
        deleted.map(({ version, generation_id: generationId }) =>
          folderName({ version, generationId }),
        ),
      );
      const inPlace = found.filter((ref) => !gone.has(folderName(ref)));
      return [
        ...inPlace.map((ref) => ({ ref, deletedAt: null, movedTo: null })),
        ...deleted.map(({ version, generation_id, deleted_at, moved_to }) => ({
          ref: { projectId, version, generationId: generation_id },
          deletedAt: deleted_at,
          movedTo: moved_to ?? null,
        })),
      ];
    } catch (error) {
      throw fromFileSystem(error, `read "${this.layout.project(projectId)}"`);
    }
  }
}

function refuse(ref: Ref): never {
  throw new StorageError('not_found', `Cannot find ${formatRef(ref)} in the store`);
}
