import { existsSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatRef, type Ref, StorageError } from '../../contract.ts';
import { fromFileSystem } from '../../disk/file-errors.ts';
import { makeFolder, syncPath } from '../durable.ts';
import type { LeftOut } from '../left-out.ts';
import type { SaveDetails } from '../save-details.ts';
import type { Source } from '../source.ts';
import type { StoredGeneration } from '../stored-generation.ts';
import type { StoreParts } from '../work.ts';
import { flatSource, isFlat, mayBeFlat } from './flat.ts';

type Parts = StoreParts &
  Readonly<{ commit: (ref: Ref, source: Source, details: SaveDetails) => Promise<unknown> }>;

/** What the Python system left: read where it lies, and made a generation of ours. */
export class Legacy {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What lies there of a flat project; `null` where the generation is none. */
  async describe(ref: Ref): Promise<{ generation: StoredGeneration; leftOut: LeftOut } | null> {
    const { projectId } = ref;
    if (!mayBeFlat(ref) || !isFlat(this.#parts.layout, projectId)) return null;
    const { root } = this.#parts.layout.placeOf('');
    const limits = this.#parts.limits;
    const { manifest, leftOut } = await this.#parts.work.describe({ root, projectId, limits });
    const path = this.#parts.layout.project(projectId);
    const sourcePath = flatSource(this.#parts.layout, projectId);
    return { generation: { path, sourcePath, manifest }, leftOut };
  }

  /**
   * Gives what the Python system left hashes and an archive: see {@link convertTree}. The files of a
   * flat project are copied into a generation's folder; they stay where they are, too.
   *
   * @returns what was left out of it, by its path in the store
   * @throws StorageError `corrupt`, `invalid_input` that names a path
   */
  async convert(ref: Ref): Promise<LeftOut> {
    const folder = this.#parts.layout.generation(ref);
    if (existsSync(folder)) {
      const scratch = this.#parts.staging.path();
      const { root, path } = this.#parts.layout.placeOf(folder);
      return this.#parts.work.convert({ root, folder: path, scratch, limits: this.#parts.limits });
    }
    const { generation, leftOut } = (await this.describe(ref)) ?? refuse(ref);
    const { manifest, sourcePath } = generation;
    const { root, path } = this.#parts.layout.placeOf(sourcePath);
    const files = manifest.files.map((file) => ({ path: file }));
    const source = { kind: 'listed', root, folder: path, files } as const;
    const details = { createdAt: manifest.created_at, metadata: {}, ownerId: null };
    await this.#parts.commit(ref, source, details);
    return leftOut;
  }

  /**
   * Puts a generation that the Python system archived into a folder, where it had been.
   *
   * @throws StorageError `corrupt`, `invalid_input` that names an entry, `too_large`
   */
  async unpack(ref: Ref, archive: string): Promise<void> {
    const folder = this.#parts.staging.path();
    try {
      const limits = this.#parts.limits;
      const { manifest } = await this.#parts.work.unpack({
        archive,
        folder,
        limits,
        trusted: false,
      });
      const { project_id, version, generation_id } = manifest;
      const isOf =
        project_id === ref.projectId &&
        version === ref.version &&
        generation_id === ref.generationId;
      if (!isOf) {
        throw new StorageError('corrupt', `Cannot use "${archive}": it holds another generation`);
      }
      await this.#parts.work.sync(folder);
      const place = this.#parts.layout.generation(ref);
      await makeFolder(dirname(place), this.#parts.layout.project(ref.projectId));
      renameSync(folder, place);
      await syncPath(dirname(place));
    } catch (error) {
      throw fromFileSystem(error, `unpack "${archive}"`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

function refuse(ref: Ref): never {
  throw new StorageError('not_found', `Cannot find ${formatRef(ref)} in the store`);
}
