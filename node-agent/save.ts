import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatRef, objectKey, type Ref, StorageError } from './contract.ts';
import { type Catalog, type GenerationRow, refOf, type StoredFacts } from './outbox/catalog.ts';
import type { Instance } from './outbox/instance.ts';
import { reconcile, settleSave, takeUp } from './reconcile.ts';
import type { SaveRequest } from './save-input.ts';
import type { Staged } from './store/stage.ts';
import type { Store } from './store/store.ts';

/** How long a save waits for another save of the same generation, in milliseconds. */
const WAIT_MS = 30_000;
const POLL_MS = 20;

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  instance: Instance;
  now: () => number;
}>;

/** What a save came to: the row, and whether anything was written for it. */
export type Saved = Readonly<{ row: GenerationRow; created: boolean }>;

/**
 * Saves generations: takes a place in the catalog, has the store commit, notes it. One after
 * another for a generation, whichever process they run in.
 */
export class Saver {
  readonly #parts: Parts;
  /** The saves and replacements that this process works on. */
  readonly #underWay = new Map<string, SaveRequest>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @throws StorageError `invalid_input` that names the path, `too_large`, `conflict` where the
   *   version holds something else, `disk_full`; nothing of it is left then
   */
  async save(request: SaveRequest): Promise<Saved> {
    const { store, catalog, now } = this.#parts;
    const createdAt = this.#isoNow();
    const place = await this.#takePlace(request, createdAt);
    if (place.kind === 'stored') return this.#compare(place.row, request);
    const { ref } = place;
    try {
      const { metadata, source, ownerId } = request;
      const staged = await store.commit(ref, source, { createdAt, metadata, ownerId });
      catalog.finishSave(ref, factsOf(staged, ownerId), createdAt, now());
      if (ownerId !== null) this.#noteOwner(ref.projectId, ownerId);
    } catch (error) {
      // Once it is in place it stays, whatever the catalog says: the next save or start notes it.
      if (!store.has(ref)) catalog.abortSave(ref);
      throw error;
    } finally {
      this.#endWork(ref, request);
    }
    return { row: catalog.find(ref.projectId, ref.version)!, created: true };
  }

  /** Takes the place of a save, after another save of the same generation where there is one. */
  async #takePlace(request: SaveRequest, createdAt: string) {
    const { catalog, instance } = this.#parts;
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const place = catalog.beginSave(request, instance.id, randomUUID, createdAt);
      // Noted in the same breath: a place of ours that nobody works on would be cleared away.
      if (place.kind === 'new') this.#underWay.set(formatRef(place.ref), request);
      if (place.kind === 'stored') return place;
      if (place.kind === 'new') {
        if (await this.#isFree(place.ref)) return place;
        continue;
      }
      await this.#settle(place.row);
      if (performance.now() > deadline) {
        throw new StorageError(
          'unavailable',
          `Cannot save ${formatRef(refOf(place.row))}: another save of it is under way`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  /** The disk is the truth: what lies there and is not in the catalog has the version. */
  async #isFree(ref: Ref): Promise<boolean> {
    const { store, catalog } = this.#parts;
    const found = store.locate(ref.projectId, ref.version);
    if (found === null) return true;
    this.#underWay.delete(formatRef(ref));
    catalog.abortSave(ref);
    await takeUp(this.#parts, found);
    return false;
  }

  /** The next one to work on it may have begun already. */
  #endWork(ref: Ref, request: SaveRequest): void {
    const name = formatRef(ref);
    if (this.#underWay.get(name) === request) this.#underWay.delete(name);
  }

  /** Clears away a save or replacement that nobody works on any more. */
  async #settle(row: GenerationRow): Promise<void> {
    const { catalog, instance } = this.#parts;
    const ref = refOf(row);
    const mine = row.instance_id === instance.id;
    if (mine && this.#underWay.has(formatRef(ref))) return;
    if (!mine && row.instance_id !== null && !instance.isGone(row.instance_id)) return;
    const parts = {
      ...this.#parts,
      onProblem: (error: unknown) => {
        throw error;
      },
    };
    if (row.state === 'saving') await settleSave(parts, ref);
    else if (mine) catalog.release(ref);
    else await reconcile(parts);
  }

  /** Saving again what is there is no error; anything else under its name is, or replaces it. */
  async #compare(row: GenerationRow, request: SaveRequest): Promise<Saved> {
    const { store } = this.#parts;
    const { source } = request;
    const digest = await store.digest(source);
    if (digest === row.digest) {
      if (source.kind === 'staged') await store.dropStaging(source.folder);
      if (request.ownerId !== null) this.#noteOwner(row.project_id, request.ownerId);
      return { row, created: false };
    }
    if (request.replace) return this.#replace(refOf(row), request);
    throw new StorageError(
      'conflict',
      `Cannot save ${formatRef(refOf(row))}: it holds other content`,
    );
  }

  async #replace(ref: Ref, request: SaveRequest): Promise<Saved> {
    const { store, catalog, instance, now } = this.#parts;
    // Somebody else works on it now: what they leave is compared anew.
    if (!catalog.hold(ref, instance.id)) return this.save(request);
    this.#underWay.set(formatRef(ref), request);
    const createdAt = this.#isoNow();
    let swapped = false;
    try {
      const { metadata, source, ownerId } = request;
      await store.replace(ref, source, { createdAt, metadata, ownerId }, (staged) => {
        swapped = true;
        const key = objectKey(ref, staged.archive.sha256);
        catalog.finishReplace(ref, factsOf(staged, ownerId, key), createdAt, now());
      });
      if (ownerId !== null) this.#noteOwner(ref.projectId, ownerId);
    } catch (error) {
      // Once it is swapped it stays, whatever the catalog says: the next start notes it.
      if (!swapped) catalog.release(ref);
      throw error;
    } finally {
      this.#endWork(ref, request);
    }
    return { row: catalog.find(ref.projectId, ref.version)!, created: true };
  }

  /** Sets a project's owner where it has none. Another one goes with its save, and is refused. */
  #noteOwner(projectId: string, ownerId: string): void {
    const { store, catalog } = this.#parts;
    if (catalog.ownerOf(projectId) !== null) return;
    store.writeOwner(projectId, ownerId);
    catalog.setOwner(projectId, ownerId);
  }

  #isoNow(): string {
    return new Date(this.#parts.now()).toISOString();
  }
}

function factsOf(staged: Staged, ownerId: string | null, key: string | null = null): StoredFacts {
  return {
    objectKey: key,
    digest: staged.digest,
    sha256: staged.archive.sha256,
    md5: staged.archive.md5,
    archiveBytes: staged.archive.bytes,
    sourceBytes: staged.sourceBytes,
    fileCount: staged.fileCount,
    ownerId,
  };
}
