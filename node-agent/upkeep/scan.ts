import { setImmediate as breathe } from 'node:timers/promises';
import { foldId, StorageError } from '../contract.ts';
import { readBootId } from '../store/boot-id.ts';
import type { OnDisk } from '../store/stored-generation.ts';
import { SharedRuns } from '../threads/shared-runs.ts';
import { adopt } from './adopt.ts';
import { compareStored, forgetOther } from './distrust.ts';
import { attempt, finishDeletion, type Parts } from './recover.ts';

/** How long generations are read before others get a turn, in milliseconds. */
const TURN_MS = 5;

/** What does not lie with a generation, and may pass. */
const PASSING: ReadonlySet<string> = new Set(['disk_full', 'unavailable']);

/** How often a call reads all anew. */
const MAX_ROUNDS = 3;

/** How far a scan is, in projects. */
export type ScanProgress = Readonly<{ read: number; projects: number }>;

/**
 * Reads the whole disk into the catalog: once in a run of the machine, and for a catalog that is
 * new, or of another time. A power loss may have taken what was not synced, so rows that were lost are
 * made from what lies on disk.
 *
 * It goes on in the background, and nobody sees what it has not come to: whoever asks for a
 * project waits until that one is read.
 */
export class Scan {
  readonly #parts: Parts;
  readonly #bootId = readBootId();
  /** Ids of projects that are not read yet, by their folded form: those of one are one on macOS. */
  #pending = new Map<string, string[]>();
  readonly #reading = new SharedRuns<boolean>();
  readonly #stopped = new AbortController();
  /** For which time that the catalog was distrusted the projects were listed. */
  #distrusted: string | null = null;
  #projects = 0;
  #turnBegan = performance.now();
  #listed: Promise<void> | null = null;
  #whole: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** `null` once all is read. */
  get progress(): ScanProgress | null {
    if (this.#isDone) return null;
    return { read: this.#projects - this.#pending.size, projects: this.#projects };
  }

  /**
   * Waits until the catalog knows what lies on disk of a project. One generation that is damaged,
   * or cannot be read, is told of and left out.
   *
   * @throws StorageError `unavailable` where the scan is stopped
   */
  async project(projectId: string): Promise<void> {
    if (this.#isDone) return;
    await this.#readUnread();
    if (this.#isScanned) return;
    await this.#list();
    await this.#read(foldId(projectId));
  }

  /**
   * Reads the first of the projects whose ids come after one, up to another.
   *
   * @param last `null`: all that come after
   * @param count how many at most
   * @returns whether any were read
   */
  async range(after: string, last: string | null, count: number): Promise<boolean> {
    if (this.#isDone) return false;
    const hasRead = await this.#readUnread();
    if (this.#isScanned) return hasRead;
    await this.#list();
    const ids = [...this.#pending.values()]
      .flat()
      .filter((id) => id > after && (last === null || id <= last))
      .sort()
      .slice(0, count);
    const before = this.#pending.size;
    for (const id of ids) await this.#read(foldId(id));
    return this.#pending.size < before;
  }

  /**
   * Reads all that is not read yet, one project after another, until it is stopped. What cannot be
   * noted now, the disk being full, stays to be read: a later call goes on.
   *
   * @throws StorageError `unavailable` where the scan is stopped
   */
  async whole(): Promise<void> {
    this.#whole ??= this.#readAll().finally(() => {
      this.#whole = null;
    });
    await this.#whole;
  }

  /** Ends after the generation that is read; the next start begins anew. */
  async stop(): Promise<void> {
    this.#stopped.abort(
      new StorageError('unavailable', 'Cannot read the store: the agent is shutting down'),
    );
    await Promise.allSettled([this.#whole, ...this.#reading.pending()]);
  }

  async #readAll(): Promise<void> {
    const { catalog } = this.#parts;
    // It may be distrusted anew meanwhile; later calls go on where that does not end.
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await this.#readUnread();
      if (this.#isScanned) return;
      await this.#list();
      const distrusted = this.#distrusted;
      for (const folded of [...this.#pending.keys()]) {
        if (!(await this.#read(folded))) return;
      }
      await catalog.write(() => catalog.meta.setScanned(this.#bootId, distrusted));
    }
  }

  /** Asked each time: whoever begins a transaction may have found that the catalog is of another time. */
  get #isDone(): boolean {
    const { boot, unread } = this.#parts.catalog.meta.scan;
    return boot === this.#bootId && Object.keys(unread).length === 0;
  }

  get #isScanned(): boolean {
    return this.#parts.catalog.meta.scan.boot === this.#bootId;
  }

  /** Reads projects of which the last change may be missing. @returns whether there were any */
  async #readUnread(): Promise<boolean> {
    const { catalog } = this.#parts;
    const unread = Object.entries(catalog.meta.scan.unread);
    for (const [id, mark] of unread) {
      if (!(await this.#readOnce(foldId(id), [id], true))) continue;
      await catalog.write(() => catalog.meta.dropUnread(id, mark));
    }
    return unread.length > 0;
  }

  #list(): Promise<void> {
    const { distrusted } = this.#parts.catalog.meta.scan;
    if (distrusted !== this.#distrusted) {
      this.#listed = null;
      this.#pending = new Map();
      this.#distrusted = distrusted;
    }
    this.#listed ??= this.#listProjects().catch((error: unknown) => {
      this.#listed = null;
      throw error;
    });
    return this.#listed;
  }

  async #listProjects(): Promise<void> {
    for (const id of await this.#parts.store.listProjects()) {
      const folded = foldId(id);
      this.#pending.set(folded, [...(this.#pending.get(folded) ?? []), id]);
    }
    this.#projects = this.#pending.size;
  }

  /** @returns whether nothing of them is left to be read */
  async #read(folded: string): Promise<boolean> {
    const pending = this.#pending;
    const ids = pending.get(folded);
    if (ids === undefined) return true;
    const isRead = await this.#readOnce(folded, ids, this.#distrusted !== null);
    if (isRead) pending.delete(folded);
    return isRead;
  }

  /** Whoever else wants them waits for the same reading. */
  #readOnce(folded: string, ids: readonly string[], isDistrusted: boolean): Promise<boolean> {
    const name = `${isDistrusted} ${folded}`;
    return this.#reading.run(name, () => this.#readProjects(ids, isDistrusted));
  }

  async #readProjects(ids: readonly string[], isDistrusted: boolean): Promise<boolean> {
    const { store, onProblem } = this.#parts;
    let isRead = true;
    const parts = {
      onProblem: (error: unknown) => {
        if (error instanceof StorageError && PASSING.has(error.code)) isRead = false;
        onProblem(error);
      },
    };
    for (const id of ids) {
      await this.#giveWay();
      let all: ReturnType<typeof store.listProject> = [];
      let activeSince: number | null = null;
      await attempt(parts, async () => {
        all = store.listProject(id);
        activeSince = store.active.saidAt(id);
      });
      for (const found of all) {
        await this.#giveWay();
        await attempt(parts, () => this.#note(found, isDistrusted));
      }
      await attempt(parts, () => this.#noteActive(id, activeSince));
    }
    return isRead;
  }

  /** Between two generations: the event loop is everybody's, and the scan may be stopped here. */
  async #giveWay(): Promise<void> {
    if (performance.now() - this.#turnBegan > TURN_MS) {
      await breathe();
      this.#turnBegan = performance.now();
    }
    this.#stopped.signal.throwIfAborted();
  }

  /** The Python system, or a catalog that was lost, may have said what is active. */
  async #noteActive(projectId: string, since: number | null): Promise<void> {
    const { catalog } = this.#parts;
    if (since === null || catalog.projects.activeToldOf(projectId) === since) return;
    await catalog.write(() => catalog.projects.oweActive(projectId));
  }

  async #note(found: OnDisk, isDistrusted: boolean): Promise<void> {
    const { store, catalog, instance } = this.#parts;
    const { ref, deletedAt } = found;
    if (isDistrusted) await forgetOther(this.#parts, found);
    if (deletedAt !== null) {
      await finishDeletion(this.#parts, { ...found, deletedAt });
      return;
    }
    const row = catalog.generations.find(ref.projectId, ref.version);
    const state = row?.generation_id === ref.generationId ? row.state : null;
    const holder = state === 'saving' ? row!.instance_id : null;
    if (state === 'stored' && row!.sha256 !== null && !store.archives.isSettled(ref)) {
      // That the tar was gone did not last.
      await catalog.write(() => catalog.generations.update(ref, { sha256: null }, row!.digest));
    }
    if (state === 'stored' && isDistrusted) return compareStored(this.#parts, ref);
    // Whoever saves it notes it.
    if (state === 'stored' || (holder !== null && !instance.isGone(holder))) return;
    try {
      await adopt(this.#parts, ref);
    } catch (error) {
      // Another process deleted it just now.
      if (store.tombstones.deletedAt(ref) === null) throw error;
    }
  }
}
