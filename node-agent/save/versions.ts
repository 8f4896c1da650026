import type { Catalog } from '../catalog/catalog.ts';
import type { CloudRecords } from '../cloud/cloud.ts';
import { StorageError } from '../contract.ts';
import type { Store } from '../store/store.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  /** `null` while the cloud is off. */
  records: CloudRecords | null;
  /** Whether the cloud is known to be away. */
  isAway: () => boolean;
}>;

/** How long a save waits for the cloud to say which versions it has, in milliseconds. */
const SAVE_WAIT_MS = 1000;
const WAIT_MS = 10_000;

/** Knows which versions the cloud has of a project, so that the next one is free there too. */
export class Versions {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Asks at the first use of a project on this host, for a second at most. Never throws.
   *
   * @returns the version that a generation has in the cloud; `null` where none is known
   */
  async lookUp(projectId: string, generationId: string | null): Promise<number | null> {
    const { catalog, records, isAway } = this.#parts;
    if (records === null || catalog.projects.isLookedUp(projectId) || isAway()) return null;
    try {
      const signal = AbortSignal.timeout(SAVE_WAIT_MS);
      const known =
        generationId === null
          ? null
          : await records.highestVersion(projectId, { generationId, signal });
      await this.#ask(records, projectId, signal);
      return known === 0 ? null : known;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      // Then the version is provisional.
      return null;
    }
  }

  /**
   * Asks, whatever is known.
   *
   * @throws StorageError `unavailable`, also while the cloud is off
   */
  async learn(projectId: string): Promise<void> {
    const { records } = this.#parts;
    if (records === null) {
      throw new StorageError('unavailable', 'Cannot ask the cloud: the cloud is off');
    }
    await this.#ask(records, projectId, AbortSignal.timeout(WAIT_MS));
  }

  async #ask(records: CloudRecords, projectId: string, signal: AbortSignal): Promise<void> {
    const { store, catalog } = this.#parts;
    const highest = await records.highestVersion(projectId, { signal });
    // Kept beside the generations: a catalog that is lost takes no version that was given before.
    if (highest > store.projects.read(projectId).cloudVersion) {
      await store.projects.write(projectId, { cloudVersion: highest });
    }
    await catalog.write(() => catalog.projects.setCloudVersion(projectId, highest, true));
  }
}
