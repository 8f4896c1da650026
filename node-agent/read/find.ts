import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { notFound, parseId, parseVersion, type Ref } from '../contract.ts';
import type { Store } from '../store/store.ts';
import { adopt } from '../upkeep/adopt.ts';
import { isListed } from '../upkeep/listed.ts';
import type { Scan } from '../upkeep/scan.ts';

/** Names a generation; its generation id, where given, must match. */
export type RefInput = Readonly<{ projectId: string; version: number; generationId?: string }>;

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  scan: Scan;
  now: () => number;
  /** Told that there is work in the background. */
  wake: () => void;
}>;

/** Finds generations that this host knows of: in the catalog, or on disk where that does not know it. */
export class Finder {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * What has a version, which may be another generation than the one that is wanted, deleted, or only
   * being saved; `null` where nothing is known.
   *
   * @param want as {@link parseRefInput} gives it
   */
  async findAny(want: RefInput): Promise<GenerationRow | null> {
    const { store, catalog, scan, wake } = this.#parts;
    const { projectId, version, generationId } = want;
    await scan.project(projectId);
    const row = catalog.generations.find(projectId, version);
    const isThis = row !== null && matches(refOf(row), want);
    if (generationId !== undefined && !isThis) {
      const moved = store.tombstones.movedTo({ projectId, version, generationId });
      if (moved !== null) return this.findAny({ projectId, version: moved, generationId });
    }
    if (row !== null) return row;
    if (await isListed(this.#parts, projectId)) return null;
    const found = store.locate(projectId, version);
    if (found === null) return null;
    await adopt(this.#parts, found);
    wake();
    return catalog.generations.find(projectId, version);
  }

  /** What is stored under a ref. @throws StorageError `not_found`, `invalid_input` */
  async getStored(input: RefInput): Promise<GenerationRow> {
    const row = await this.getKnown(input);
    if (row.state !== 'stored') throw notFound(refOf(row));
    return row;
  }

  /** What is or was stored under a ref. @throws StorageError `not_found`, `invalid_input` */
  async getKnown(input: RefInput): Promise<GenerationRow> {
    const want = parseRefInput(input);
    const row = await this.findAny(want);
    if (row === null || !matches(refOf(row), want)) throw notFound(want);
    return row;
  }
}

/** Whether a ref is what is wanted. */
export function matches(ref: Ref, want: RefInput): boolean {
  return want.generationId === undefined || want.generationId === ref.generationId;
}

/** @throws StorageError `invalid_input` */
export function parseRefInput(input: RefInput): RefInput {
  return {
    projectId: parseId(input.projectId, 'project id'),
    version: parseVersion(input.version),
    ...(input.generationId === undefined
      ? {}
      : { generationId: parseId(input.generationId, 'generation id') }),
  };
}
