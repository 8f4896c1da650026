import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, type Position, refOf, statusOf } from '../catalog/generation-row.ts';
import { oweAllAgain, retryGivenUp } from '../catalog/owing.ts';
import type { Cloud } from '../cloud/cloud.ts';
import type { CloudChange } from '../cloud/outcomes.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { formatRef, parseId, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { ListPage } from '../read/list.ts';
import { renumber } from '../save/renumber.ts';
import type { Saver } from '../save/save.ts';
import type { Versions } from '../save/versions.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';
import { exchangeActive, tellActiveOf } from './activations.ts';
import { learnChanges } from './learn-changes.ts';
import { listOwed, type OwedUpload } from './owed.ts';
import { setOwner } from './owner.ts';
import { beginAnew, isOlder } from './witness.ts';

/** How many objects that nothing needs are removed at once. */
const UNNEEDED_AT_ONCE = 100;

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  cache: Cache;
  scan: Scan;
  locks: Locks;
  saver: Saver;
  versions: Versions;
  /** `null` while the cloud is off. */
  cloud: Cloud | null;
  unwritable: StorageError | null;
  now: () => number;
  isCloudOn: boolean;
  keepDeletedMs: number;
  /** Has what was undeleted in the cloud lie here again. */
  bringBack: (ref: Ref) => Promise<unknown>;
  /** Whether the outbox waits for the cloud. */
  isAway: () => boolean;
  onProblem: (error: unknown) => void;
  onEvent: Tell;
  /** Told that there is work in the background. */
  wake: () => void;
}>;

/** What is owed to the cloud, and what the cloud says that this host has to follow. */
export class Uploads {
  readonly #parts: Parts;
  readonly #failedChanges = new Map<string, CloudChange>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What is owed, oldest first. */
  list(options: { limit?: number; cursor?: number }): ListPage<OwedUpload, number> {
    return listOwed(this.#parts.catalog, options);
  }

  /** Has tried again what was parked, of one project or of all. Returns how many uploads and deletions that were. */
  async retryParked(projectId: string | null): Promise<number> {
    const { catalog, now, wake } = this.#parts;
    const only = projectId === null ? null : parseId(projectId, 'project id');
    const count = await catalog.write(() => retryGivenUp(catalog, now(), only));
    wake();
    return count;
  }

  /** Owes everything again, or all of one project. Returns how many generations that are. */
  async resend(projectId: string | null): Promise<number> {
    const { catalog, scan, now, wake } = this.#parts;
    const only = projectId === null ? null : parseId(projectId, 'project id');
    if (only === null) await scan.whole();
    else await scan.project(only);
    const oweFrom = (after: Position | null) =>
      catalog.write(() => oweAllAgain(catalog, only, after, now()));
    await this.#oweActive(only);
    await this.#oweProjectFiles(only);
    let { count: total, next } = await oweFrom(null);
    while (next !== null) {
      const owed = await oweFrom(next);
      total += owed.count;
      next = owed.next;
    }
    wake();
    return total;
  }

  /** What is active is told again, of one project or of all. */
  async #oweActive(only: string | null): Promise<void> {
    const { store, catalog } = this.#parts;
    for (const projectId of only === null ? await store.listProjects() : [only]) {
      if (store.active.saidAt(projectId) === null) continue;
      await catalog.write(() => catalog.projects.oweActive(projectId));
    }
  }

  /** Where the cloud is away they are as they were: the next time that it is asked for is as good. */
  async #oweProjectFiles(only: string | null): Promise<void> {
    const { cloud, onProblem } = this.#parts;
    await cloud?.projectFiles.oweAgain(only).catch(onProblem);
  }

  /** Saves anew, under a version that is free, what was given up. Returns its new ref. */
  async renumber(row: GenerationRow): Promise<Ref> {
    const ref = refOf(row);
    if (row.status !== 'failed') {
      const state = `it is ${statusOf(row, this.#parts.cloud !== null)}, nothing is in its way`;
      throw new StorageError('conflict', `Cannot renumber ${formatRef(ref)}: ${state}`);
    }
    const to = await renumber(this.#parts, ref);
    this.#parts.wake();
    return to;
  }

  /** Sets the owner of a project. Returns whether anything changed. */
  async setOwner(
    projectId: string,
    ownerId: string,
    options: { transfer: boolean },
  ): Promise<boolean> {
    const isChanged = await setOwner(this.#parts, projectId, ownerId, options);
    this.#parts.wake();
    return isChanged;
  }

  /** Follows what the web app or another host did. Returns how many generations or copies it changed. */
  async learnChanges(): Promise<number> {
    const { cloud, catalog, isAway, bringBack, onEvent, onProblem, wake } = this.#parts;
    if (cloud === null) return 0;
    const parts = { ...this.#parts, ...cloud };
    if (await isOlder(parts)) {
      onEvent({ kind: 'cloud.older' });
      onProblem(
        new StorageError(
          'conflict',
          'The database knows less than it did: it was restored, or is another one. Everything that lies here is asked for again',
        ),
      );
      await this.resend(null);
      await beginAnew(parts);
    }
    const undeleted: Ref[] = [];
    const onUndeleted = (ref: Ref) => undeleted.push(ref);
    const failed = this.#failedChanges;
    const changed = await learnChanges({ ...parts, failed, onUndeleted });
    if (changed > 0) wake();
    for (const ref of undeleted) await bringBack(ref).catch(onProblem);
    // It answered, whatever another process met.
    if (catalog.meta.cloudAway !== null && !isAway()) {
      await catalog.write(() => catalog.meta.setCloudAway(null));
    }
    return changed;
  }

  /** Tells which generations are active, and follows what was said elsewhere. Returns how many it followed. */
  async exchangeActive(): Promise<number> {
    const { cloud } = this.#parts;
    return cloud === null ? 0 : exchangeActive({ ...this.#parts, ...cloud });
  }

  /** Tells which generation of a project is active. */
  async tellActive(projectId: string): Promise<void> {
    const { cloud } = this.#parts;
    if (cloud !== null) await tellActiveOf({ ...this.#parts, ...cloud }, projectId);
  }

  /** Writes down in the bucket what has changed of projects. Returns of how many. */
  async writeProjectFiles(): Promise<number> {
    const { cloud, isAway } = this.#parts;
    return cloud === null || isAway() ? 0 : cloud.projectFiles.write();
  }

  /** Removes objects that nothing needs and whose host did not. Returns how many that were. */
  async removeUnneeded(): Promise<number> {
    const { cloud } = this.#parts;
    if (cloud === null) return 0;
    let removed = 0;
    for (;;) {
      const some = await cloud.retention.listUnneeded(UNNEEDED_AT_ONCE);
      await removeUnneeded(cloud, some);
      removed += some.length;
      if (some.length < UNNEEDED_AT_ONCE) return removed;
    }
  }
}
