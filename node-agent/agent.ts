import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cache } from './cache/cache.ts';
import { connect } from './cloud/connection.ts';
import { CloudObjects } from './cloud/objects.ts';
import { CloudRecords } from './cloud/records.ts';
import {
  DEFAULT_LIMITS,
  formatRef,
  isInCloud,
  MAX_VERSION,
  type Manifest,
  PAGE,
  parseId,
  parseVersion,
  type Ref,
  type Status,
  StorageError,
  URL_EXPIRY,
} from './contract.ts';
import { Catalog, type GenerationRow, keyOf, refOf, type StoredFacts } from './outbox/catalog.ts';
import { Instance } from './outbox/instance.ts';
import { Jobs } from './outbox/jobs.ts';
import { Outbox } from './outbox/outbox.ts';
import { reconcile, settleSave } from './reconcile.ts';
import { Retriever } from './retrieve.ts';
import {
  parseDetails,
  parseOwner,
  parseSave,
  parseSaveFolder,
  type SaveDetails,
  type SaveFolderInput,
  type SaveInput,
  type SaveRequest,
} from './save-input.ts';
import { fromFileSystem } from './store/durable.ts';
import { inGeneration, Layout } from './store/layout.ts';
import type { Staged } from './store/stage.ts';
import { readManifest, Store } from './store/store.ts';
import { createWork } from './sync.ts';
import { writeTar } from './tar-input.ts';
import type {
  DownloadUrl,
  ListPage,
  LocalGeneration,
  ProjectSummary,
  Receipt,
  RefInput,
  StorageOptions,
  StorageStatus,
  Summary,
} from './types.ts';
import { Workers } from './workers.ts';
import { GenerationWriter } from './writer.ts';

/** How long {@link Storage.close} lets uploads that are due run, in milliseconds. */
const DRAIN_MS = 10_000;
/** How long a save waits for another save of the same generation, in milliseconds. */
const SAVE_WAIT_MS = 30_000;
const SAVE_POLL_MS = 20;

/** Opens the storage of a generator host. Several processes may have the same one open. */
export async function openStorage(given: StorageOptions): Promise<Storage> {
  if (process.platform === 'win32') {
    throw new StorageError('invalid_input', 'Cannot open the storage: Windows is not supported');
  }
  const options = { ...given, storePath: resolve(given.storePath) };
  const layout = new Layout(options.storePath);
  try {
    mkdirSync(layout.staging, { recursive: true });
  } catch (error) {
    throw fromFileSystem(error, `open the store "${options.storePath}"`);
  }
  const opened: (() => unknown)[] = [];
  try {
    return await openParts(options, layout, opened);
  } catch (error) {
    for (const close of opened.reverse()) await close();
    throw error;
  }
}

async function openParts(
  options: StorageOptions,
  layout: Layout,
  opened: (() => unknown)[],
): Promise<Storage> {
  const instance = new Instance(layout.instances);
  opened.push(() => instance.close());
  const catalog = new Catalog(layout.catalog);
  opened.push(() => catalog.close());
  const limits = options.limits ?? DEFAULT_LIMITS;
  const now = options.now ?? Date.now;
  const workers = new Workers();
  opened.push(() => workers.close());
  const store = new Store(layout, limits, instance.id, workers);
  const cache = new Cache(options.cache, { limits, work: workers, now, instanceId: instance.id });
  await reconcile({
    store,
    catalog,
    instance,
    now,
    onProblem: options.onProblem ?? (() => {}),
  });
  await cache.sweepStaging((id) => instance.isGone(id));
  return new Storage(options, { instance, catalog, store, cache, workers });
}

export type { Storage };

class Storage {
  readonly #options: StorageOptions;
  readonly #instance: Instance;
  readonly #catalog: Catalog;
  readonly #jobs: Jobs;
  readonly #store: Store;
  readonly #cache: Cache;
  readonly #workers: Workers;
  readonly #retriever: Retriever;
  readonly #now: () => number;
  readonly #stopped = new AbortController();
  readonly #objects: CloudObjects | null = null;
  readonly #outbox: Outbox | null = null;
  readonly #saves = new Set<Promise<Receipt>>();
  /** The saves and replacements that this process works on. */
  readonly #underWay = new Map<string, SaveRequest>();
  #syncing: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  constructor(
    options: StorageOptions,
    parts: {
      instance: Instance;
      catalog: Catalog;
      store: Store;
      cache: Cache;
      workers: Workers;
    },
  ) {
    this.#options = options;
    this.#instance = parts.instance;
    this.#catalog = parts.catalog;
    this.#store = parts.store;
    this.#cache = parts.cache;
    this.#workers = parts.workers;
    this.#jobs = new Jobs(parts.catalog);
    this.#now = options.now ?? Date.now;
    if (options.cloud === null) {
      this.#retriever = new Retriever({ cache: parts.cache, cloud: null });
      this.#syncTrees();
      return;
    }
    const connection = connect(options.cloud, this.#stopped.signal, options.timeouts);
    const records = new CloudRecords(connection);
    this.#objects = new CloudObjects(connection);
    this.#retriever = new Retriever({
      cache: parts.cache,
      cloud: { objects: this.#objects, records },
    });
    this.#outbox = new Outbox({
      jobs: this.#jobs,
      instance: parts.instance,
      work: createWork({
        store: parts.store,
        catalog: parts.catalog,
        jobs: this.#jobs,
        objects: this.#objects,
        records,
        now: this.#now,
      }),
      concurrency: options.uploadConcurrency,
      now: this.#now,
      random: options.random ?? Math.random,
      onProblem: options.onProblem ?? (() => {}),
    });
    if (options.background !== false) this.#outbox.wake();
    this.#syncTrees();
  }

  /**
   * Saves a generation: on disk and safe from a power loss when this returns, in the cloud soon
   * after. Saving the same content again changes nothing.
   *
   * @throws StorageError `invalid_input` that names the path, `too_large`, `conflict` where the
   *   version holds something else, `disk_full`; nothing of it is left then
   */
  async save(input: SaveInput): Promise<Receipt> {
    return this.#track(() => this.#save(parseSave(input)));
  }

  /** Saves the files of a folder, all but `.git`, `node_modules` and the store itself. */
  async saveFolder(input: SaveFolderInput): Promise<Receipt> {
    return this.#track(() => this.#save(parseSaveFolder(input, this.#ownPaths)));
  }

  /**
   * Saves files that come one after another: nothing is held in memory, and nothing is there
   * before the writer's `commit`.
   *
   * @throws StorageError `invalid_input`
   */
  writer(details: SaveDetails): GenerationWriter {
    const request = parseDetails(details);
    return new GenerationWriter({
      folder: this.#store.openStaging(),
      limits: this.#options.limits ?? DEFAULT_LIMITS,
      commit: (folder) =>
        this.#track(() => this.#save({ ...request, source: { kind: 'staged', folder } })),
      drop: (folder) => this.#store.dropStaging(folder),
    });
  }

  /**
   * Saves the files of a tar, gzipped or not, as it streams in.
   *
   * @throws StorageError as {@link save}, and `corrupt` where it is no tar
   */
  async saveTar(input: SaveDetails & { tar: AsyncIterable<Uint8Array> }): Promise<Receipt> {
    const writer = this.writer(input);
    try {
      await writeTar(input.tar, writer);
      return await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  /**
   * Makes a generation the active one of its project on this host: `generations/active` links to
   * it. Saving never changes what is active.
   *
   * @throws StorageError `not_found` where it is not in the store
   */
  async activate(input: RefInput): Promise<Ref> {
    const ref = refOf(this.#find(input));
    if (!this.#store.has(ref)) throw notFound(ref);
    this.#store.activate(ref);
    return ref;
  }

  /** The active version of a project; `null` where none is. */
  async activeVersion(projectId: string): Promise<number | null> {
    return this.#store.findActive(parseId(projectId, 'project id'));
  }

  /** What is never part of a generation, although a folder may hold it. */
  get #ownPaths(): string[] {
    return [this.#options.storePath, this.#options.cache.path];
  }

  /** Lets {@link close} wait for the save. */
  async #track(start: () => Promise<Receipt>): Promise<Receipt> {
    if (this.#closed !== null) {
      throw new StorageError('unavailable', 'Cannot save: the storage is closed');
    }
    const save = start();
    this.#saves.add(save);
    try {
      return await save;
    } finally {
      this.#saves.delete(save);
    }
  }

  async #save(request: SaveRequest): Promise<Receipt> {
    const createdAt = this.#isoNow();
    const place = await this.#takePlace(request, createdAt);
    if (place.kind === 'stored') return this.#compare(place.row, request);
    const { ref } = place;
    try {
      const { metadata, source, ownerId } = request;
      const staged = await this.#store.commit(ref, source, { createdAt, metadata, ownerId });
      const facts = factsOf(staged, ownerId);
      this.#catalog.finishSave(ref, facts, createdAt, this.#now());
      if (ownerId !== null) this.#noteOwner(ref.projectId, ownerId);
    } catch (error) {
      // Once it is in place it stays, whatever the catalog says: the next save or start notes it.
      if (!this.#store.has(ref)) this.#catalog.abortSave(ref);
      throw error;
    } finally {
      this.#endWork(ref, request);
    }
    this.#outbox?.wake();
    this.#syncTrees();
    return this.#receipt(this.#catalog.find(ref.projectId, ref.version)!, true);
  }

  /** Takes the place of a save, after another save of the same generation where there is one. */
  async #takePlace(request: SaveRequest, createdAt: string) {
    const deadline = performance.now() + SAVE_WAIT_MS;
    for (;;) {
      const place = this.#catalog.beginSave(request, this.#instance.id, randomUUID, createdAt);
      // Noted in the same breath: a place of ours that nobody works on would be cleared away.
      if (place.kind === 'new') this.#underWay.set(formatRef(place.ref), request);
      if (place.kind !== 'saving') return place;
      await this.#settle(place.row);
      if (performance.now() > deadline) {
        throw new StorageError(
          'unavailable',
          `Cannot save ${formatRef(refOf(place.row))}: another save of it is under way`,
        );
      }
      await sleep(SAVE_POLL_MS);
    }
  }

  /** The next one to work on it may have begun already. */
  #endWork(ref: Ref, request: SaveRequest): void {
    const name = formatRef(ref);
    if (this.#underWay.get(name) === request) this.#underWay.delete(name);
  }

  /** Clears away a save or replacement that nobody works on any more. */
  async #settle(row: GenerationRow): Promise<void> {
    const ref = refOf(row);
    const mine = row.instance_id === this.#instance.id;
    if (mine && this.#underWay.has(formatRef(ref))) return;
    if (!mine && row.instance_id !== null && !this.#instance.isGone(row.instance_id)) return;
    const parts = {
      store: this.#store,
      catalog: this.#catalog,
      instance: this.#instance,
      now: this.#now,
      onProblem: (error: unknown) => {
        throw error;
      },
    };
    if (row.state === 'saving') await settleSave(parts, ref);
    else if (mine) this.#catalog.abortReplace(ref);
    else await reconcile(parts);
  }

  /**
   * Makes trees last that so far only their archives vouch for, one after another and after the
   * answers: each costs as many fsyncs as it has files.
   */
  #syncTrees(): void {
    if (this.#syncing !== null || this.#options.background === false) return;
    this.#syncing = this.#syncAll()
      .catch((error: unknown) => this.#options.onProblem?.(error))
      .finally(() => {
        this.#syncing = null;
      });
  }

  async #syncAll(): Promise<void> {
    for (let rows = this.#catalog.unsynced(); rows.length > 0; rows = this.#catalog.unsynced()) {
      for (const row of rows) {
        if (this.#stopped.signal.aborted) return;
        const ref = refOf(row);
        if (this.#store.has(ref)) await this.#store.syncTree(ref);
        this.#catalog.setTreeSynced(ref, row.digest);
      }
    }
  }

  /** Saving again what is there is no error; anything else under its name is, or replaces it. */
  async #compare(row: GenerationRow, request: SaveRequest): Promise<Receipt> {
    const { source } = request;
    const digest = await this.#store.digest(source);
    if (digest === row.digest) {
      if (source.kind === 'staged') await this.#store.dropStaging(source.folder);
      if (request.ownerId !== null) this.#noteOwner(row.project_id, request.ownerId);
      return this.#receipt(row, false);
    }
    if (request.replace) return this.#replace(refOf(row), request);
    throw new StorageError(
      'conflict',
      `Cannot save ${formatRef(refOf(row))}: it holds other content`,
    );
  }

  async #replace(ref: Ref, request: SaveRequest): Promise<Receipt> {
    // Somebody else replaces it now: what they leave is compared anew.
    if (!this.#catalog.beginReplace(ref, this.#instance.id)) return this.#save(request);
    this.#underWay.set(formatRef(ref), request);
    const createdAt = this.#isoNow();
    let swapped = false;
    try {
      const { metadata, source, ownerId } = request;
      await this.#store.replace(ref, source, { createdAt, metadata, ownerId }, (staged) => {
        swapped = true;
        const facts = factsOf(staged, ownerId);
        this.#catalog.finishReplace(ref, facts, createdAt, this.#now());
      });
      if (ownerId !== null) this.#noteOwner(ref.projectId, ownerId);
    } catch (error) {
      // Once it is swapped it stays, whatever the catalog says: the next start notes it.
      if (!swapped) this.#catalog.abortReplace(ref);
      throw error;
    } finally {
      this.#endWork(ref, request);
    }
    this.#outbox?.wake();
    this.#syncTrees();
    return this.#receipt(this.#catalog.find(ref.projectId, ref.version)!, true);
  }

  /** Sets a project's owner where it has none. Another one goes with its save, and is refused. */
  #noteOwner(projectId: string, ownerId: string): void {
    if (this.#catalog.ownerOf(projectId) !== null) return;
    this.#store.writeOwner(projectId, parseOwner(ownerId));
    this.#catalog.setOwner(projectId, ownerId);
  }

  #receipt(row: GenerationRow, created: boolean): Receipt {
    const ref = refOf(row);
    return {
      ...ref,
      status: this.#statusOf(row),
      created,
      path: this.#store.layout.generation(ref),
      fileCount: row.file_count ?? 0,
      bytes: row.source_bytes ?? 0,
      archiveBytes: row.archive_bytes ?? 0,
      sha256: row.sha256 ?? '',
      digest: row.digest ?? '',
    };
  }

  /**
   * Gets a generation to read: from the store, else from the cache, else from the cloud. Its
   * folder is not to be changed, and stays for ten minutes at least where it is a cached copy.
   *
   * @throws StorageError `not_found`, `unavailable` where only the cloud has it and is away,
   *   `corrupt` where what the cloud has is not what was recorded
   */
  async get(input: RefInput): Promise<LocalGeneration> {
    const want = parseRefInput(input);
    const row = this.#catalog.find(want.projectId, want.version);
    if (row !== null) {
      const matches = [undefined, row.generation_id].includes(want.generationId);
      if (!matches || row.state !== 'stored') throw notFound(want);
      const ref = refOf(row);
      const path = this.#store.layout.generation(ref);
      const manifest = this.#store.findManifest(ref);
      if (manifest !== null) return describe(ref, path, manifest, 'store', false);
    }
    const { entry, from, stale } = await this.#retriever.get({ ...want, row });
    return describe(entry.ref, entry.path, readManifest(entry.path), from, stale);
  }

  /** @throws StorageError `not_found` */
  async show(input: RefInput): Promise<Summary> {
    return this.#summary(this.#find(input));
  }

  /** The generations of a project, newest version first. A project that is not there has none. */
  async list(
    projectId: string,
    options: { limit?: number; cursor?: number } = {},
  ): Promise<ListPage<Summary, number>> {
    const limit = options.limit ?? PAGE.default;
    const before = options.cursor ?? MAX_VERSION + 1;
    const rows = this.#catalog.list(parseId(projectId, 'project id'), before, limit + 1);
    const items = rows.slice(0, limit).map((row) => this.#summary(row));
    return { items, nextCursor: rows.length > limit ? (items.at(-1)?.version ?? null) : null };
  }

  /** The projects, by id. */
  async listProjects(
    options: { limit?: number; cursor?: string } = {},
  ): Promise<ListPage<ProjectSummary, string>> {
    const limit = options.limit ?? PAGE.default;
    const rows = this.#catalog.listProjects(options.cursor ?? '', limit + 1);
    const items = rows.slice(0, limit).map((row) => ({
      projectId: row.id,
      ownerId: row.owner_id,
      versions: row.versions,
      latestVersion: row.latest_version,
      bytes: row.source_bytes,
    }));
    return { items, nextCursor: rows.length > limit ? (items.at(-1)?.projectId ?? null) : null };
  }

  /**
   * A signed URL for the archive; `null` while it is not in the bucket.
   *
   * @param options.expiresIn seconds, at most 30 days. Default an hour
   * @throws StorageError `not_found`, `unavailable`
   */
  async downloadUrl(
    input: RefInput,
    options: { expiresIn?: number } = {},
  ): Promise<DownloadUrl | null> {
    const expiresIn = parseExpiry(options.expiresIn);
    const row = this.#find(input);
    const ref = refOf(row);
    if (this.#objects === null || !isInCloud(row.status)) return null;
    const expiresAt = new Date(this.#now() + expiresIn * 1000).toISOString();
    const filename = `${ref.projectId}-v${ref.version}.tar.gz`;
    const url = await this.#objects.sign(keyOf(row), expiresIn, filename);
    // Of what is there: another host may have uploaded the same content, packed at another time.
    const info = await this.#objects.info(keyOf(row));
    return { url, expiresAt, sha256: info?.sha256 ?? row.sha256, size: info?.bytes ?? null };
  }

  /**
   * Deletes a generation: on disk at once, in the cloud soon after. Deleting twice is fine.
   *
   * @returns whether there was something to delete
   * @throws StorageError `not_found` where it never was
   */
  async delete(input: RefInput): Promise<{ ref: Ref; deleted: boolean }> {
    const row = this.#findAny(input);
    const ref = refOf(row);
    if (row.state === 'saving') throw notFound(ref);
    const deleted = row.state === 'stored';
    // Also where it is deleted already: what a crash left of it goes now.
    await this.#store.bury(ref, this.#isoNow());
    if (deleted) this.#catalog.bury(ref, this.#isoNow(), this.#now());
    this.#outbox?.wake();
    return { ref, deleted };
  }

  /** Takes up again what was parked. Returns how many uploads and deletions that were. */
  async retryParked(): Promise<number> {
    const count = this.#jobs.unpark(this.#now());
    this.#outbox?.wake();
    return count;
  }

  /** Evicts cached copies that are too old or too much, never one that may be in use. */
  async cleanupCache(): Promise<{ evicted: number; bytes: number }> {
    return this.#cache.cleanup();
  }

  async status(): Promise<StorageStatus> {
    const { cloud, storePath } = this.#options;
    const { pending = 0, ...others } = this.#catalog.countByStatus();
    const { nextDueAt, ...counts } = this.#jobs.counts();
    return {
      storePath,
      cloud: {
        enabled: cloud !== null,
        url: cloud?.url ?? null,
        bucket: cloud?.bucket ?? null,
      },
      generations: { ...others, [cloud === null ? 'local' : 'pending']: pending },
      outbox: {
        ...counts,
        nextDueAt: nextDueAt === null ? null : new Date(nextDueAt).toISOString(),
        paused: this.#outbox?.isPaused ?? false,
      },
    };
  }

  /**
   * Waits until all that can be uploaded now is: what waits for a retry or is parked stays owed.
   *
   * @param timeoutMs the longest wait, in milliseconds
   */
  async drain(timeoutMs: number = DRAIN_MS): Promise<void> {
    await this.#outbox?.drain(timeoutMs);
  }

  /** Ends the storage: lets what is under way finish for a bounded time, leaves the rest owed. */
  close(options: { drainMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#close(options.drainMs ?? DRAIN_MS);
    return this.#closed;
  }

  async #close(drainMs: number): Promise<void> {
    try {
      await Promise.allSettled(this.#saves);
      if (drainMs > 0) await this.drain(drainMs);
      const outboxStopped = this.#outbox?.stop();
      this.#stopped.abort(new StorageError('unavailable', 'The agent is shutting down'));
      await outboxStopped;
      await this.#syncing;
      await this.#workers.close();
      await this.#store.close();
      await this.#cache.close();
    } finally {
      this.#catalog.close();
      this.#instance.close();
    }
  }

  #find(input: RefInput): GenerationRow {
    const row = this.#findAny(input);
    if (row.state !== 'stored') throw notFound(refOf(row));
    return row;
  }

  #findAny(input: RefInput): GenerationRow {
    const { projectId, version, generationId } = parseRefInput(input);
    const row = this.#catalog.find(projectId, version);
    if (row === null || (generationId !== undefined && row.generation_id !== generationId)) {
      throw notFound({ projectId, version });
    }
    return row;
  }

  #statusOf(row: GenerationRow): Status {
    if (row.state === 'deleted') return 'deleted';
    return row.status === 'pending' && this.#options.cloud === null ? 'local' : row.status;
  }

  #summary(row: GenerationRow): Summary {
    const ref = refOf(row);
    return {
      ...ref,
      status: this.#statusOf(row),
      failure: row.failure,
      fileCount: row.file_count,
      bytes: row.source_bytes,
      archiveBytes: row.archive_bytes,
      digest: row.digest,
      sha256: row.sha256,
      objectKey: keyOf(row),
      createdAt: row.created_at,
      uploadedAt: row.uploaded_at,
    };
  }

  #isoNow(): string {
    return new Date(this.#now()).toISOString();
  }
}

function factsOf(staged: Staged, ownerId: string | null): StoredFacts {
  return {
    digest: staged.digest,
    sha256: staged.archive.sha256,
    md5: staged.archive.md5,
    archiveBytes: staged.archive.bytes,
    sourceBytes: staged.sourceBytes,
    fileCount: staged.fileCount,
    ownerId,
  };
}

function describe(
  ref: Ref,
  path: string,
  manifest: Manifest,
  from: LocalGeneration['from'],
  stale: boolean,
): LocalGeneration {
  return { ...ref, path, sourcePath: inGeneration.source(path), manifest, from, stale };
}

function parseRefInput(input: RefInput): RefInput {
  return {
    projectId: parseId(input.projectId, 'project id'),
    version: parseVersion(input.version),
    ...(input.generationId === undefined
      ? {}
      : { generationId: parseId(input.generationId, 'generation id') }),
  };
}

function parseExpiry(expiresIn: number | undefined): number {
  const seconds = expiresIn ?? URL_EXPIRY.default;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= URL_EXPIRY.max) return seconds;
  throw new StorageError(
    'invalid_input',
    `Cannot sign a URL for ${seconds} seconds: it is good for 1 to ${URL_EXPIRY.max}`,
  );
}

function notFound(ref: Pick<Ref, 'projectId' | 'version'>): StorageError {
  return new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
}
