import type { Cache } from '../cache/cache.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { isComplete, isInCloud, StorageError } from '../contract.ts';
import { readManifest } from '../disk/read-manifest.ts';
import type { Retriever } from '../read/retrieve.ts';
import type { Saver } from '../save/save.ts';
import { requestOfUnpacked } from '../save/unpacked.ts';
import { inGeneration } from '../store/layout.ts';
import { packAgain } from '../upkeep/archive-of.ts';

type Parts = Parameters<typeof packAgain>[0] &
  Readonly<{ saver: Saver; retriever: Retriever; cache: Cache; isCloudOn: boolean }>;

/** Makes whole what is damaged on this host, from whatever is not. */
export class Repairer {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Repairs a stored generation of ours: its archive from the tree or from the cloud, then the tree from the
   * archive. A tree of the Python system stays as it is: beside its files may lie what is nowhere else.
   *
   * @returns what is the matter with it still, a sentence each
   */
  async repair(row: GenerationRow): Promise<string[]> {
    const { store, locks } = this.#parts;
    const ref = refOf(row);
    const check = () => store.trees.check(ref, row.digest!);
    try {
      await this.#mendArchive(row);
      if ((await check()).length > 0 && !store.trees.isKept(ref)) {
        const unlock = await locks.lock(ref);
        if (unlock !== null) await store.trees.layOut(ref).finally(unlock);
      }
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return [error.message];
    }
    return check();
  }

  async #mendArchive(row: GenerationRow): Promise<void> {
    try {
      await packAgain(this.#parts, refOf(row));
    } catch (error) {
      const isDamaged = error instanceof StorageError && error.code === 'corrupt';
      if (!isDamaged || !this.#parts.isCloudOn || !isInCloud(row.status)) throw error;
      await this.#getBack(row);
    }
  }

  /** Saves once more, in its place, what the cloud has of it. */
  async #getBack(row: GenerationRow): Promise<void> {
    const { cache, retriever, saver } = this.#parts;
    const ref = refOf(row);
    // A copy that lies here may be damaged as well.
    const cached = cache.entries.find(ref.projectId, ref.version, ref.generationId);
    if (cached !== null) await cache.entries.discard(cached.path);
    const { entry } = await retriever.getLaidOut({ ...ref, row });
    const manifest = readManifest(cache.placeOf(inGeneration.manifest(entry.path)));
    if (!isComplete(manifest) || manifest.digest !== row.digest) {
      throw new StorageError('corrupt', 'Cannot repair it: the cloud has other content');
    }
    await saver.mend(row, requestOfUnpacked(ref, cache.placeOf(entry.path), manifest));
  }
}
