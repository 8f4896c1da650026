import { randomUUID } from 'node:crypto';
import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import {
  abortSave,
  beginSave,
  finishReplace,
  finishSave,
  lock,
  unlock,
} from '../catalog/saving.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Committed } from '../store/commit.ts';
import type { LeftOut } from '../store/left-out.ts';
import type { Staged } from '../store/stage.ts';
import { adopt } from '../upkeep/adopt.ts';
import { type Parts as KeepParts, keptUntil } from '../upkeep/kept-until.ts';
import { convert } from '../upkeep/legacy.ts';
import { isListed, noteChange } from '../upkeep/listed.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { SaveRequest } from './request.ts';
import { factsOf, savedEvent } from './saved-facts.ts';
import type { Versions } from './versions.ts';

type Parts = KeepParts &
  Readonly<{
    catalog: Catalog;
    instance: Instance;
    locks: Locks;
    versions: Versions;
    onEvent: Tell;
  }>;

/** What a save came to: the row, whether anything was written for it, and what was left out. */
export type Saved = Readonly<{
  row: GenerationRow;
  created: boolean;
  /** Whether what is there now was not before: not where it was put back. */
  isNew: boolean;
  leftOut: LeftOut;
}>;

/**
 * Saves generations: takes a place in the catalog, has the store commit, notes it. One after
 * another for a generation, whichever process they run in.
 */
export class Saver {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @param began when, by `performance.now()`
   * @throws StorageError `invalid_input` that names the path, `too_large`, `conflict` where the
   *   version holds something else, `disk_full`; nothing of it is left then
   */
  async save(given: SaveRequest, began: number): Promise<Saved> {
    const { store, catalog, now, onEvent } = this.#parts;
    const request = await this.#withVersion(given);
    const createdAt = this.#isoNow();
    const place = await this.#takePlace(request, createdAt);
    if (place.row !== undefined) return this.#compare(place.row, request, began);
    const { ref, end } = place;
    let staged: Committed | null = null;
    try {
      const { metadata, source, ownerId, artifacts = null, replace: isReplacement } = request;
      const details = { createdAt, metadata, ownerId, artifacts, isReplacement };
      staged = await store.commit(ref, source, details);
      const { change } = staged;
      // Of what only the cloud has, where it has something.
      const facts = { ...factsOf(staged, ownerId), isReplacement };
      await catalog.write(() => {
        finishSave(catalog, ref, facts, createdAt, now());
        noteChange(catalog, ref.projectId, change);
        onEvent(savedEvent(ref, facts, request, began));
      });
      if (ownerId !== null) await this.#noteOwner(ref.projectId, ownerId);
    } catch (error) {
      // What lay there before is not ours to remove.
      const wasThere =
        staged === null && error instanceof StorageError && error.code === 'conflict';
      await this.#takeBack(ref, { keepsFolder: wasThere });
      throw error;
    } finally {
      end();
    }
    const { leftOut } = staged;
    const row = catalog.generations.find(ref.projectId, ref.version)!;
    return { row, created: true, isNew: true, leftOut };
  }

  /** A generation that the cloud has is saved under the version that it has there. */
  async #withVersion(request: SaveRequest): Promise<SaveRequest> {
    const { catalog, versions } = this.#parts;
    const { projectId, generationId } = request;
    if (request.version !== null) return request;
    if (generationId !== null && catalog.generations.findLatest(projectId, generationId) !== null) {
      return request;
    }
    const version = await versions.lookUp(projectId, generationId);
    const isFree = version !== null && catalog.generations.find(projectId, version) === null;
    return isFree ? { ...request, version } : request;
  }

  /** Takes the place of a save, after other work on the same generation where there is some. */
  async #takePlace(request: SaveRequest, createdAt: string) {
    const { catalog, instance, locks } = this.#parts;
    const wait = locks.waiter('save');
    // What is damaged beyond repair keeps its version, and no other save from having the next.
    let above = 0;
    for (;;) {
      const { place, end } = await catalog.write(() => {
        const by = { instanceId: instance.id, makeId: randomUUID, createdAt, above };
        const place = beginSave(catalog, request, by);
        // Noted in the same breath: a place of ours that nobody works on would be cleared away.
        return { place, end: place.kind === 'new' ? locks.begin(place.ref) : () => {} };
      });
      if (place.kind === 'stored') return { row: place.row };
      if (place.kind === 'saving') {
        await wait(place.row);
        continue;
      }
      try {
        if (await this.#isFree(place.ref)) return { ref: place.ref, end };
      } catch (error) {
        end();
        const isDamaged = error instanceof StorageError && error.code === 'corrupt';
        if (!isDamaged || request.version !== null) throw error;
        above = place.ref.version;
        continue;
      }
      end();
    }
  }

  /** Leaves nothing of a save that failed, unless all but its owner was noted. */
  async #takeBack(ref: Ref, options: { keepsFolder: boolean }): Promise<void> {
    const { store, catalog, instance } = this.#parts;
    const row = catalog.generations.find(ref.projectId, ref.version);
    const isOurs = row?.state === 'saving' && row.instance_id === instance.id;
    // Whoever took this process for gone gave its place away.
    const isLost = row === null || row.generation_id !== ref.generationId;
    if (!isOurs && !isLost) return;
    if (!options.keepsFolder) await store.removals.discard(ref);
    if (isOurs) await catalog.write(() => abortSave(catalog, ref));
  }

  /** The disk is the truth: what lies there and is not in the catalog has the version. */
  async #isFree(ref: Ref): Promise<boolean> {
    const { store, catalog } = this.#parts;
    if (await isListed(this.#parts, ref.projectId)) return true;
    const found = store.locate(ref.projectId, ref.version);
    if (found === null) return true;
    await catalog.write(() => abortSave(catalog, ref));
    await adopt(this.#parts, found);
    return false;
  }

  /** Saving again what is there is no error; anything else under its name is, or replaces it. */
  async #compare(row: GenerationRow, request: SaveRequest, began: number): Promise<Saved> {
    const { store } = this.#parts;
    const { source } = request;
    // What the Python system left has no digest that it could be kept under.
    if (row.digest === null && request.replace) {
      await convert(this.#parts, refOf(row), row);
      return this.save(request, began);
    }
    const { digest, leftOut } = await store.digest(source, request.artifacts ?? null);
    if (digest === row.digest && !store.has(refOf(row))) return this.#putBack(row, request, began);
    if (digest === row.digest && (await store.trees.check(refOf(row), digest)).length > 0) {
      return this.mend(row, request, began);
    }
    if (digest === row.digest) {
      if (source.kind === 'draft') await store.staging.drop(source.folder);
      if (request.ownerId !== null) await this.#noteOwner(row.project_id, request.ownerId);
      return { row, created: false, isNew: false, leftOut };
    }
    if (request.replace) return this.#replace(refOf(row), request, began);
    throw new StorageError(
      'conflict',
      `Cannot save ${formatRef(refOf(row))}: it holds other content. Leave the version out, or replace it (--replace)`,
    );
  }

  /** What was taken out of the store, being in the cloud, is there again. */
  #putBack(row: GenerationRow, request: SaveRequest, began: number): Promise<Saved> {
    const { store, catalog, now } = this.#parts;
    const { metadata, source, ownerId, artifacts = null } = request;
    const ref = refOf(row);
    return this.#whileLocked(ref, request, { began, isNew: false }, async () => {
      const createdAt = row.created_at;
      const isReplacement = row.is_replacement === 1;
      const details = { createdAt, metadata, ownerId, artifacts, isReplacement };
      const staged = await store.commit(ref, source, details);
      const facts = { ...factsOf(staged, ownerId), isReplacement };
      await catalog.write(() => finishSave(catalog, ref, facts, createdAt, now()));
      return staged;
    });
  }

  /**
   * Puts what is damaged here in its place once more: it was just sent, or came from the cloud.
   *
   * @param request has the same content
   */
  mend(row: GenerationRow, request: SaveRequest, began = performance.now()): Promise<Saved> {
    const { store, catalog } = this.#parts;
    const { metadata, source, ownerId, artifacts = null } = request;
    const ref = refOf(row);
    return this.#whileLocked(ref, request, { began, isNew: false }, async () => {
      const isReplacement = row.is_replacement === 1;
      const details = { createdAt: row.created_at, metadata, ownerId, artifacts, isReplacement };
      return store.replacements.replace(ref, source, details, null, async ({ digest, change }) => {
        if (digest !== row.digest) throw isOther(ref);
        const unknown = { sha256: null, md5: null, archive_bytes: null };
        await catalog.write(() => {
          catalog.generations.update(ref, unknown, row.digest);
          noteChange(catalog, ref.projectId, change);
          unlock(catalog, ref);
        });
      });
    });
  }

  #replace(ref: Ref, request: SaveRequest, began: number): Promise<Saved> {
    const { store, catalog, now, onEvent } = this.#parts;
    const { metadata, source, ownerId, artifacts = null } = request;
    return this.#whileLocked(ref, request, { began, isNew: true }, async () => {
      const row = catalog.generations.find(ref.projectId, ref.version);
      const purgeAt = await keptUntil(this.#parts, row);
      const { createdAt = this.#isoNow() } = request;
      const isKept = purgeAt !== null && row?.digest != null;
      return store.replacements.replace(
        ref,
        source,
        { createdAt, metadata, ownerId, artifacts, isReplacement: true },
        isKept ? { digest: row.digest, purgeAt } : null,
        async (staged) => {
          const facts = { ...factsOf(staged, ownerId), isReplacement: true };
          const note = () => {
            finishReplace(catalog, ref, facts, createdAt, now());
            noteChange(catalog, ref.projectId, staged.change);
            onEvent(savedEvent(ref, facts, request, began));
          };
          await catalog.write(note, { durably: true });
        },
      );
    });
  }

  /** Writes a stored generation anew, as the only one that works on it. */
  async #whileLocked(
    ref: Ref,
    request: SaveRequest,
    { began, isNew }: { began: number; isNew: boolean },
    write: () => Promise<Staged>,
  ): Promise<Saved> {
    const { catalog, instance, locks } = this.#parts;
    const end = await catalog.write(() =>
      lock(catalog, ref, instance.id, 'stored') ? locks.begin(ref) : null,
    );
    // Somebody else works on it now: what they leave is compared anew.
    if (end === null) return this.save(request, began);
    let staged: Staged;
    try {
      staged = await write();
      if (request.ownerId !== null) await this.#noteOwner(ref.projectId, request.ownerId);
    } catch (error) {
      await catalog.write(() => unlock(catalog, ref));
      throw error;
    } finally {
      end();
    }
    const { leftOut } = staged;
    const row = catalog.generations.find(ref.projectId, ref.version)!;
    return { row, created: true, isNew, leftOut };
  }

  /** Sets a project's owner where it has none. Another one goes with its save, and is refused. */
  async #noteOwner(projectId: string, ownerId: string): Promise<void> {
    const { store, catalog } = this.#parts;
    if (catalog.projects.ownerOf(projectId) !== null) return;
    await store.projects.write(projectId, { ownerId });
    await catalog.write(() => catalog.projects.setOwner(projectId, ownerId));
  }

  #isoNow(): string {
    return new Date(this.#parts.now()).toISOString();
  }
}

function isOther(ref: Ref): StorageError {
  const message = `Cannot repair ${formatRef(ref)}: what came is other content`;
  return new StorageError('conflict', message);
}
