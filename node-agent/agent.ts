import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { archiveOf } from './archive-of.ts';
import type { Cache } from './cache/cache.ts';
import { type Connection, connect } from './cloud/connection.ts';
import { CloudObjects } from './cloud/objects.ts';
import type { CloudChange } from './cloud/outcomes.ts';
import { CloudRecords } from './cloud/records.ts';
import {
  diffFiles,
  type FileEntry,
  type FilesDiff,
  formatRef,
  isInCloud,
  MAX_VERSION,
  PAGE,
  parseId,
  parseVersion,
  pathProblem,
  type Ref,
  type Status,
  StorageError,
  URL_EXPIRY,
} from './contract.ts';
import { deleteHere } from './delete-here.ts';
import { NotAFile, openFileInside } from './disk/open-inside.ts';
import { readManifest } from './disk/read-manifest.ts';
import { type Evicted, evictStored } from './evict.ts';
import { Holds } from './holds.ts';
import { learnChanges } from './learn-changes.ts';
import { listFiles } from './list-files.ts';
import { type Catalog, type GenerationRow, keyOf, type Position, refOf } from './outbox/catalog.ts';
import type { Instance } from './outbox/instance.ts';
import { Jobs, type OwedJob } from './outbox/jobs.ts';
import { Outbox } from './outbox/outbox.ts';
import { mendInCloud, proveInCloud } from './proof.ts';
import { renumber } from './renumber.ts';
import { Repeated } from './repeated.ts';
import { Retriever } from './retrieve.ts';
import { type Saved, Saver } from './save.ts';
import {
  parseDetails,
  parseLinks,
  parseOwner,
  parseSave,
  parseSaveFolder,
  type SaveDetails,
  type SaveFolderInput,
  type SaveInput,
  type SaveRequest,
  type SaveTarInput,
} from './save-input.ts';
import type { Scan } from './scan.ts';
import { PathSigner } from './signed-path.ts';
import { inGeneration, type Layout } from './store/layout.ts';
import type { LeftOut } from './store/left-out.ts';
import type { Store } from './store/store.ts';
import { takeUp } from './take-up.ts';
import { writeTar } from './tar-input.ts';
import type {
  ArchiveOnDisk,
  DownloadUrl,
  ListPage,
  LocalGeneration,
  OwedUpload,
  ProjectSummary,
  Receipt,
  RefInput,
  StorageOptions,
  StorageStatus,
  Summary,
} from './types.ts';
import { Upkeep } from './upkeep.ts';
import { removeUnneeded } from './upload/parts.ts';
import { takeOwner } from './upload/reserve.ts';
import { createWork } from './upload/work.ts';
import { type Verified, type VerifyOptions, verifyAll } from './verify.ts';
import { Versions } from './versions.ts';
import { beginAnew, isOlder } from './witness.ts';
import type { HeavyWork } from './workers.ts';
import { GenerationWriter } from './writer.ts';

/** How long {@link Storage.close} lets uploads that are due run, in milliseconds. */
const DRAIN_MS = 10_000;
/** How often changes in the cloud are looked for, in milliseconds. */
const CHANGES_MS = 60_000;
/** How often objects are looked for that nothing needs and nobody removed, in milliseconds. */
const UNNEEDED_MS = 3_600_000;
/** How many of those are removed at once. */
const UNNEEDED_AT_ONCE = 100;
/** After which time a scan goes on that could not be ended, in milliseconds. */
const SCAN_AGAIN_MS = 60_000;

/** The options with every default filled in. */
export type Settled = StorageOptions &
  Required<Pick<StorageOptions, 'onProblem' | 'onEvent' | 'limits' | 'now' | 'monotonic'>>;

/** Generations on this host: saved, got, listed, deleted, and brought to the cloud in the background. */
export class Storage {
  readonly #options: Settled;
  readonly #layout: Layout;
  readonly #instance: Instance;
  readonly #catalog: Catalog;
  readonly #jobs: Jobs;
  readonly #store: Store;
  readonly #scan: Scan;
  readonly #cache: Cache;
  readonly #workers: HeavyWork;
  readonly #holds: Holds;
  readonly #saver: Saver;
  readonly #upkeep: Upkeep;
  readonly #retriever: Retriever;
  readonly #stopped = new AbortController();
  readonly #cloud: { objects: CloudObjects; records: CloudRecords } | null = null;
  readonly #outbox: Outbox | null = null;
  readonly #repeated: Repeated[] = [];
  readonly #saves = new Set<Promise<Receipt>>();
  readonly #versions: Versions;
  readonly #failedChanges = new Map<string, CloudChange>();
  #closed: Promise<void> | null = null;

  constructor(
    options: Settled,
    layout: Layout,
    parts: {
      instance: Instance;
      catalog: Catalog;
      store: Store;
      scan: Scan;
      cache: Cache;
      workers: HeavyWork;
    },
  ) {
    const { now, onProblem } = options;
    this.#options = options;
    this.#layout = layout;
    this.#instance = parts.instance;
    this.#catalog = parts.catalog;
    this.#store = parts.store;
    this.#scan = parts.scan;
    this.#cache = parts.cache;
    this.#workers = parts.workers;
    this.#jobs = new Jobs(parts.catalog);
    this.#holds = new Holds({ ...parts, now });
    this.#upkeep = new Upkeep({ ...parts, onProblem });
    const { cloud, timeouts, fetch = null } = options;
    const connection =
      cloud === null ? null : connect(cloud, this.#stopped.signal, timeouts, fetch);
    if (connection !== null) {
      this.#cloud = {
        objects: new CloudObjects(connection),
        records: new CloudRecords(connection),
      };
    }
    this.#versions = new Versions({
      ...parts,
      records: this.#cloud?.records ?? null,
      isAway: () => this.#outbox?.paused != null,
    });
    this.#saver = new Saver({ ...parts, holds: this.#holds, versions: this.#versions, now });
    if (connection !== null && this.#cloud !== null) {
      this.#outbox = this.#makeOutbox(this.#cloud, connection);
    }
    this.#retriever = new Retriever({ cache: parts.cache, cloud: this.#cloud });
    // Also where nothing else goes on in the background: every answer is of what lies on disk.
    this.#repeated.push(new Repeated(() => this.#scanAll(), SCAN_AGAIN_MS, onProblem));
    if (options.background !== false) this.#addBackground();
    for (const repeated of this.#repeated) repeated.start();
  }

  async #scanAll(): Promise<void> {
    if (this.#scan.progress === null) return;
    await this.#scan.whole();
    this.#wake();
  }

  #makeOutbox(
    cloud: { objects: CloudObjects; records: CloudRecords },
    connection: Connection,
  ): Outbox {
    const { now, monotonic, onProblem, onEvent, uploadConcurrency } = this.#options;
    const { random = Math.random } = this.#options;
    const work = createWork({
      ...this.#parts,
      ...cloud,
      jobs: this.#jobs,
      saver: this.#saver,
      versions: this.#versions,
      onEvent,
      onVerified: () => this.#wake(),
    });
    return new Outbox({
      catalog: this.#catalog,
      jobs: this.#jobs,
      instance: this.#instance,
      work: async (batch) => {
        for (const job of batch) await this.#scan.project(job.project_id);
        return work(batch);
      },
      concurrency: uploadConcurrency,
      now,
      monotonic,
      random,
      refreshKey: () => connection.key.refresh(),
      onProblem,
      onEvent,
    });
  }

  /** What changes of generations need. */
  get #parts() {
    return {
      store: this.#store,
      catalog: this.#catalog,
      holds: this.#holds,
      now: this.#options.now,
    };
  }

  #addBackground(): void {
    const { cleanupEveryMs, onProblem } = this.#options;
    this.#wake();
    if (this.#cloud !== null) {
      // The cloud that is away is the outbox's to tell of, once.
      const tell = (error: unknown) => {
        if (!(error instanceof StorageError && error.retryable)) onProblem(error);
      };
      this.#repeated.push(
        new Repeated(() => this.learnChanges(), CHANGES_MS, tell),
        new Repeated(() => this.removeUnneeded(), UNNEEDED_MS, tell),
      );
    }
    if (cleanupEveryMs !== null) {
      this.#repeated.push(new Repeated(() => this.cleanupCache(), cleanupEveryMs, onProblem));
    }
  }

  /** Looks for work in the background, after something was added. */
  #wake(): void {
    if (this.#options.background === false) return;
    this.#outbox?.wake();
    this.#upkeep.wake();
  }

  /**
   * Saves a generation: on disk and safe from a power loss when this returns, in the cloud soon
   * after. Saving the same content again changes nothing.
   *
   * @throws StorageError `invalid_input` that names the path, `too_large`, `conflict` where the
   *   version holds something else, `disk_full`; nothing of it is left then
   */
  async save(input: SaveInput): Promise<Receipt> {
    return this.#save(() => parseSave(input));
  }

  /**
   * Saves a generation that came as the JSON of the HTTP API.
   *
   * @param body its bytes, in memory that threads share
   * @throws StorageError as {@link save}
   */
  async saveJson(body: Uint8Array<SharedArrayBuffer>): Promise<Receipt> {
    const { limits } = this.#options;
    const { details, files } = await this.#workers.parse({ body, limits });
    return this.#save(() => ({ ...parseDetails(details), source: { kind: 'files', files } }));
  }

  /**
   * Saves the files of a folder: all of them, but what is left out. That is counted in the receipt.
   *
   * @throws StorageError as {@link save}, and `conflict` where a file changes while it is read
   */
  async saveFolder(input: SaveFolderInput): Promise<Receipt> {
    return this.#save(() => parseSaveFolder(input, this.#ownPaths));
  }

  /**
   * Saves files that come one after another: nothing is held in memory, and nothing is there
   * before the writer's `commit`.
   *
   * @throws StorageError `invalid_input`
   */
  writer(details: SaveDetails): GenerationWriter {
    const request = parseDetails(details);
    this.#checkInPlace();
    return new GenerationWriter({
      folder: this.#store.openStaging(),
      limits: this.#options.limits,
      commit: (source) => this.#save(() => ({ ...request, source })),
      drop: (folder) => this.#store.dropStaging(folder),
    });
  }

  /**
   * Saves the files of a tar, gzipped or not, as it streams in.
   *
   * @throws StorageError as {@link save}, and `corrupt` where it is no tar
   */
  async saveTar(input: SaveTarInput): Promise<Receipt> {
    const links = parseLinks(input.links);
    const writer = this.writer(input);
    try {
      await writeTar(input.tar, writer, links);
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
    const ref = refOf(await this.#find(input));
    if (!this.#store.has(ref)) throw notFound(ref);
    await this.#store.activate(ref);
    return ref;
  }

  /** The active version of a project; `null` where none is. */
  async activeVersion(projectId: string): Promise<number | null> {
    return this.#store.findActive(parseId(projectId, 'project id'));
  }

  /** What is saved into a store that somebody removed would be lost. @throws StorageError `unavailable` */
  #checkInPlace(): void {
    if (this.#catalog.isInPlace) return;
    throw new StorageError(
      'unavailable',
      `Cannot save: the store "${this.#options.storePath}" was removed or moved while the agent ran. Put it back, and start the agent again`,
    );
  }

  /** What is never part of a generation, although a folder may hold it. */
  get #ownPaths(): string[] {
    const { storePath, cache, secretFiles = [] } = this.#options;
    return [storePath, cache.path, ...secretFiles];
  }

  async #save(parse: () => SaveRequest): Promise<Receipt> {
    if (this.#closed !== null) {
      throw new StorageError('unavailable', 'Cannot save: the storage is closed');
    }
    this.#checkInPlace();
    const began = performance.now();
    const request = parse();
    const save = this.#saveRequest(request).then((saved) => {
      const { created } = saved;
      const receipt = this.#receipt(saved);
      const { fileCount: files, bytes } = receipt;
      const ms = performance.now() - began;
      this.#options.onEvent({ kind: 'save', created, files, bytes, ms });
      return receipt;
    });
    // So that close can wait for it.
    this.#saves.add(save);
    try {
      return await save;
    } finally {
      this.#saves.delete(save);
      this.#wake();
    }
  }

  async #saveRequest(request: SaveRequest): Promise<Saved> {
    await this.#scan.project(request.projectId);
    return this.#saver.save(request);
  }

  #receipt({ row, created, leftOut }: Saved): Receipt {
    const ref = refOf(row);
    return {
      ...ref,
      versionProvisional: this.#options.cloud !== null && row.provisional === 2,
      status: this.#statusOf(row),
      created,
      path: this.#store.layout.generation(ref),
      fileCount: row.file_count ?? 0,
      bytes: row.source_bytes ?? 0,
      archiveBytes: row.archive_bytes ?? 0,
      sha256: row.sha256 ?? '',
      digest: row.digest ?? '',
      leftOut,
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
    const row = await this.#findKnown(want);
    if (row !== null) {
      const ref = refOf(row);
      if (!matches(ref, want)) return this.#getOther(want);
      if (row.state !== 'stored') throw notFound(want);
      const found = await this.#store.find(ref);
      if (found !== null) {
        const here = { ...ref, ...found, from: 'store' } as const;
        const isOther = row.cloud_digest !== null && this.#cloud !== null;
        const got = isOther ? await this.#getReplacement(want, row) : null;
        if (got !== null) return got;
        this.#options.onEvent({ kind: 'get', from: 'store' });
        return { ...here, stale: isOther };
      }
    }
    return this.#retrieve(want, row);
  }

  /** What took the place of what lies here; `null` where the cloud is away. */
  async #getReplacement(want: RefInput, row: GenerationRow): Promise<LocalGeneration | null> {
    try {
      return await this.#retrieve(want, row);
    } catch (error) {
      if (error instanceof StorageError && error.retryable) return null;
      throw error;
    }
  }

  async #retrieve(want: RefInput, row: GenerationRow | null): Promise<LocalGeneration> {
    const { entry, from, stale } = await this.#retriever.get({ ...want, row });
    this.#options.onEvent({ kind: 'get', from });
    const { ref, path } = entry;
    return {
      ...ref,
      path,
      sourcePath: inGeneration.source(path),
      manifest: readManifest(this.#cache.placeOf(inGeneration.manifest(path))),
      from,
      stale,
    };
  }

  /**
   * The source files of a generation that was got, by path. Those of the Python system are read, for
   * it kept no hashes.
   *
   * @throws StorageError `corrupt` that names a file which is none
   */
  files(generation: LocalGeneration): Promise<FileEntry[]> {
    return listFiles(generation, (path) => this.openFile(generation, path));
  }

  /**
   * Opens a source file of a generation that was got, to read it. The caller closes it.
   *
   * @throws StorageError `corrupt` where there is no regular file, also where a part of its path is a
   *   link
   */
  async openFile(generation: LocalGeneration, path: string): Promise<FileHandle> {
    const name = `${JSON.stringify(path)} of ${formatRef(generation)}`;
    // An old manifest may name anything.
    const problem = pathProblem(path);
    if (problem !== null) throw new StorageError('corrupt', `Cannot read ${name}: ${problem}`);
    const file = join(generation.sourcePath, path);
    const place =
      generation.from === 'store' ? this.#store.layout.placeOf(file) : this.#cache.placeOf(file);
    try {
      return await openFileInside(place.root, place.path);
    } catch (error) {
      if (!(error instanceof NotAFile)) throw error;
      throw new StorageError('corrupt', `Cannot read ${name}: it is ${error.problem}`, {
        cause: error,
      });
    }
  }

  /** The Python system let two generations have one version: the catalog knows one, the disk both. */
  async #getOther({ projectId, version, generationId }: RefInput): Promise<LocalGeneration> {
    const ref = { projectId, version, generationId: generationId! };
    const found = this.#store.deletedAt(ref) === null ? await this.#store.find(ref) : null;
    if (found === null) throw notFound(ref);
    return { ...ref, ...found, from: 'store', stale: false };
  }

  /**
   * Gives a generation that the Python system left hashes and an archive, and owes it to the cloud.
   * Its files stay as they are.
   *
   * @returns what was left out of it; `null` where there was nothing to do
   * @throws StorageError `not_found`, `conflict` where another generation has the version,
   *   `corrupt` for a file that is missing, `invalid_input` that names a path
   */
  async adopt(ref: Ref): Promise<LeftOut | null> {
    const row = await this.#findKnown(ref);
    if (row === null || row.state !== 'stored') throw notFound(ref);
    checkHolder(row, ref);
    if (row.digest !== null) return null;
    const giveBack = await this.#holds.hold(ref);
    if (giveBack === null) throw notFound(ref);
    let leftOut: LeftOut;
    try {
      leftOut = await this.#store.adopt(ref);
      await takeUp(this.#parts, ref);
    } finally {
      await giveBack();
    }
    this.#wake();
    return leftOut;
  }

  /**
   * Takes in a generation that the Python system archived, where it is not there already.
   *
   * @param archive its tar.gz
   * @throws StorageError `conflict`, `corrupt`, `invalid_input` that names an entry, `too_large`
   */
  async takeIn(ref: Ref, archive: string): Promise<void> {
    const row = await this.#findKnown(ref);
    if (row !== null) return checkHolder(row, ref);
    await this.#store.unpackInto(ref, archive);
    await takeUp(this.#parts, ref);
  }

  /**
   * The keys of all archives in the bucket, or of those of one project.
   *
   * @throws StorageError `unavailable`
   */
  archivesInBucket(only: string | null): AsyncIterable<string> {
    return checkCloudOn(this.#cloud).objects.listArchives(only);
  }

  /**
   * Makes the row of an archive that is in the bucket without one: it is read back for its hash.
   *
   * @returns whether there was anything to do
   * @throws StorageError `conflict` where another generation has the version, `unavailable`
   */
  async recordArchive(ref: Ref, key: string, ownerId: string | null): Promise<boolean> {
    const { objects, records } = checkCloudOn(this.#cloud);
    const known = await records.find(ref.projectId, ref.version);
    if (known?.generation_id === ref.generationId) return false;
    const info = await objects.info(key);
    const sha256 = await objects.readBack(key);
    const reserved = await records.reserve({
      ref,
      objectKey: key,
      digest: null,
      sha256,
      archiveBytes: info?.bytes ?? null,
      sourceBytes: null,
      fileCount: null,
      createdAt: new Date(this.#options.now()).toISOString(),
      ownerId,
      replace: false,
    });
    if (reserved.outcome === 'no_database') {
      throw new StorageError(
        'unavailable',
        `Cannot record ${formatRef(ref)}: the migrations are not applied`,
      );
    }
    if (reserved.outcome !== 'reserved') {
      const reason = reserved.outcome === 'conflict' ? reserved.reason : 'it was deleted';
      throw new StorageError('conflict', `Cannot record ${formatRef(ref)}: ${reason}`);
    }
    await records.record({
      ...{ ref, objectKey: reserved.object_key, sha256, status: 'verified', fileCount: 0 },
      readDetails: null,
    });
    return true;
  }

  /**
   * Asks whether the cloud still has a generation as it was recorded; where it has not, it is owed
   * to it again.
   *
   * @returns what is the matter; `null` where nothing is
   * @throws StorageError `not_found`, `unavailable`
   */
  async confirmInCloud(input: RefInput): Promise<string | null> {
    const row = await this.#find(input);
    const cloud = checkCloudOn(this.#cloud);
    const parts = { ...this.#parts, ...cloud };
    const problem = await proveInCloud(parts, row);
    if (problem === null) return null;
    await mendInCloud(parts, row, problem);
    this.#wake();
    return problem.reason;
  }

  async #oweAgain(row: GenerationRow): Promise<void> {
    const { now } = this.#options;
    await this.#catalog.write(() => this.#catalog.oweAgain(refOf(row), now()));
    this.#wake();
  }

  /**
   * Reads an archive back from the cloud, all of it, and compares it with what was recorded.
   *
   * @throws StorageError `corrupt`, `unavailable`
   */
  async verifyInCloud(input: RefInput): Promise<void> {
    const row = await this.#find(input);
    const parts = { store: this.#store, ...checkCloudOn(this.#cloud) };
    const problem = await proveInCloud(parts, row, { readBack: true });
    if (problem === null) return;
    throw new StorageError('corrupt', `Cannot verify ${formatRef(refOf(row))}: ${problem.reason}`);
  }

  /**
   * Reads generations of store and cloud, and compares every byte with the recorded hashes.
   *
   * @throws StorageError `unavailable` where the cloud cannot be asked
   */
  async *verify(options: VerifyOptions = {}): AsyncIterable<Verified> {
    await this.#scan.whole();
    const { random = Math.random } = this.#options;
    yield* verifyAll({ ...this.#parts, cloud: this.#cloud, random }, options);
    this.#wake();
  }

  /**
   * Compares the files of two versions, from wherever they are got.
   *
   * @throws StorageError as {@link get}
   */
  async diff(projectId: string, from: number, to: number): Promise<FilesDiff> {
    const [before, after] = await Promise.all(
      [from, to].map(async (version) => this.files(await this.get({ projectId, version }))),
    );
    return diffFiles(before!, after!);
  }

  /** @throws StorageError `not_found` */
  async show(input: RefInput): Promise<Summary> {
    return this.#summary(await this.#find(input));
  }

  /** The generations of a project, newest version first. A project that is not there has none. */
  async list(
    projectId: string,
    options: { limit?: number; cursor?: number } = {},
  ): Promise<ListPage<Summary, number>> {
    const limit = options.limit ?? PAGE.default;
    const before = options.cursor ?? MAX_VERSION + 1;
    const project = parseId(projectId, 'project id');
    await this.#scan.project(project);
    const rows = this.#catalog.list(project, before, limit + 1);
    const items = rows.slice(0, limit).map((row) => this.#summary(row));
    return { items, nextCursor: rows.length > limit ? (items.at(-1)?.version ?? null) : null };
  }

  /** The projects, by id. */
  async listProjects(
    options: { limit?: number; cursor?: string } = {},
  ): Promise<ListPage<ProjectSummary, string>> {
    const limit = options.limit ?? PAGE.default;
    const rows = await this.#projectsAfter(options.cursor ?? '', limit + 1);
    const items = rows.slice(0, limit).map((row) => ({
      projectId: row.id,
      ownerId: row.owner_id,
      versions: row.versions,
      latestVersion: row.latest_version,
      bytes: row.source_bytes,
    }));
    return { items, nextCursor: rows.length > limit ? (items.at(-1)?.projectId ?? null) : null };
  }

  /** What lies on disk in this part of the list is read first, where it is not read yet. */
  async #projectsAfter(after: string, count: number) {
    for (;;) {
      const rows = this.#catalog.listProjects(after, count);
      const last = rows.length < count ? null : rows.at(-1)!.id;
      if (!(await this.#scan.range(after, last, count))) return rows;
    }
  }

  /**
   * A signed URL for the archive: the cloud's once it is in the bucket, else this host's own where
   * a daemon runs on the store that serves it; else `null`.
   *
   * @param options.expiresIn seconds, at most 30 days. Default an hour
   * @param options.fromCloud whether only the cloud's will do
   * @throws StorageError `not_found`, `unavailable`
   */
  async downloadUrl(
    input: RefInput,
    options: { expiresIn?: number; fromCloud?: boolean } = {},
  ): Promise<DownloadUrl | null> {
    const expiresIn = parseExpiry(options.expiresIn);
    const row = await this.#find(input);
    if (this.#cloud !== null && (isInCloud(row.status) || row.cloud_digest !== null)) {
      try {
        return await this.#cloudUrl(this.#cloud, row, expiresIn);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        // Gone from the bucket behind our back: it is sent again.
        const isGone = error.code === 'not_found';
        if (isGone) await this.#oweAgain(row);
        // Gone or away: what lies here still is served from here.
        const own = options.fromCloud === true ? null : this.#ownUrl(row, expiresIn);
        if (own === null || !(isGone || error.retryable)) throw error;
        return own;
      }
    }
    return options.fromCloud === true ? null : this.#ownUrl(row, expiresIn);
  }

  async #cloudUrl(
    { objects, records }: { objects: CloudObjects; records: CloudRecords },
    row: GenerationRow,
    expiresIn: number,
  ): Promise<DownloadUrl> {
    const ref = refOf(row);
    const expiresAt = new Date(this.#options.now() + expiresIn * 1000).toISOString();
    // Of what is there: another host may have replaced it, or packed the same content.
    const record = await records.find(ref.projectId, ref.version);
    if (record !== null && !isInCloud(record.status)) throw notFound(ref);
    const key = record?.object_key ?? keyOf(row);
    const url = await objects.sign(key, expiresIn, archiveName(ref), record?.bucket);
    const sha256 = record === null ? row.sha256 : record.sha256;
    const size = record === null ? row.archive_bytes : record.archive_bytes;
    return { url, expiresAt, sha256, size };
  }

  #ownUrl(row: GenerationRow, expiresIn: number): DownloadUrl | null {
    const base = this.#instance.announced();
    if (base === null || row.digest === null || !this.#store.has(refOf(row))) return null;
    const expires = Math.floor(this.#options.now() / 1000) + expiresIn;
    return {
      url: base + this.signer.sign(refOf(row), expires),
      expiresAt: new Date(expires * 1000).toISOString(),
      sha256: row.sha256,
      size: row.archive_bytes,
    };
  }

  /**
   * Lets every process on the store give out download URLs that this one serves, until it closes.
   *
   * @param url what stands before the path: `http://127.0.0.1:8787`
   */
  announce(url: string): void {
    this.#instance.announce(url.replace(/\/+$/, ''));
  }

  /** The folder of a generation in the store, whether or not it is there. */
  pathOf(ref: Ref): string {
    return this.#layout.generation(ref);
  }

  /** What tells whether a download URL of this host is genuine. */
  get signer(): PathSigner {
    return new PathSigner(this.#layout.urlKey, this.#options.onProblem);
  }

  /**
   * The archive of a generation in the store, as a file to read at once.
   *
   * @throws StorageError `not_found`, `corrupt`
   */
  async archive(input: RefInput): Promise<ArchiveOnDisk> {
    const row = await this.#find(input);
    const ref = refOf(row);
    if (!this.#store.has(ref) || row.digest === null) throw notFound(ref);
    const { path, bytes, sha256 } = await archiveOf(this.#parts, ref);
    return { ...ref, path, bytes, sha256, filename: archiveName(ref) };
  }

  /**
   * Deletes a generation: on disk at once, in the cloud soon after. Deleting twice is fine.
   *
   * @returns whether there was something to delete
   * @throws StorageError `not_found` where it never was
   */
  async delete(input: RefInput): Promise<{ ref: Ref; deleted: boolean }> {
    const row = await this.#findAny(input);
    const ref = refOf(row);
    if (row.state === 'saving') throw notFound(ref);
    const deleted = await deleteHere(this.#parts, ref);
    this.#wake();
    return { ref, deleted };
  }

  /**
   * Follows what the web app or another host deleted or replaced: what was deleted goes here too,
   * what was replaced is told. A database that knows less than it did, being restored or another
   * one, is told all again. Happens by itself every minute.
   *
   * @returns how many generations or cached copies it changed; none while the cloud is off
   * @throws StorageError `unavailable`
   */
  async learnChanges(): Promise<number> {
    if (this.#cloud === null) return 0;
    const { onProblem, onEvent } = this.#options;
    const parts = { ...this.#parts, records: this.#cloud.records };
    if (await isOlder(parts)) {
      onEvent({ kind: 'cloud_older' });
      onProblem(
        new StorageError(
          'conflict',
          'The database knows less than it did: it was restored, or is another one. Everything that lies here is asked for again',
        ),
      );
      await this.resend();
      await beginAnew(parts);
    }
    const changed = await learnChanges({
      ...parts,
      cache: this.#cache,
      scan: this.#scan,
      failed: this.#failedChanges,
      onProblem,
      onEvent,
    });
    if (changed > 0) this.#wake();
    return changed;
  }

  /**
   * Removes objects from the bucket that nothing needs and whose host did not. Happens by itself
   * every hour.
   *
   * @returns how many that were; none while the cloud is off
   * @throws StorageError `unavailable`
   */
  async removeUnneeded(): Promise<number> {
    if (this.#cloud === null) return 0;
    let removed = 0;
    for (;;) {
      const some = await this.#cloud.records.listUnneeded(UNNEEDED_AT_ONCE);
      await removeUnneeded(this.#cloud, some);
      removed += some.length;
      if (some.length < UNNEEDED_AT_ONCE) return removed;
    }
  }

  /**
   * Owes everything to the cloud again, or all of one project: what it still has is found to be
   * there, what it lost is sent, what was deleted is deleted.
   *
   * @returns how many generations that are
   */
  async resend(projectId: string | null = null): Promise<number> {
    const only = projectId === null ? null : parseId(projectId, 'project id');
    if (only === null) await this.#scan.whole();
    else await this.#scan.project(only);
    let total = 0;
    for (let after: Position | null = null, isEnd = false; !isEnd; isEnd = after === null) {
      const owed = await this.#oweFrom(only, after);
      total += owed.count;
      after = owed.next;
    }
    this.#wake();
    return total;
  }

  #oweFrom(only: string | null, after: Position | null) {
    const { now } = this.#options;
    return this.#catalog.write(() => this.#catalog.oweAllAgain(only, after, now()));
  }

  /**
   * Saves a generation anew under the next version that is free here and in the cloud: for what
   * cannot be uploaded under its own, another generation or other content having it there.
   *
   * @returns its new ref; the old one leads there with the generation id
   * @throws StorageError `not_found`, `conflict` where it is in the cloud, `unavailable`
   */
  async renumber(input: RefInput): Promise<Ref> {
    const row = await this.#find(input);
    const ref = refOf(row);
    if (row.status !== 'failed') {
      const state = `it is ${this.#statusOf(row)}, nothing is in its way`;
      throw new StorageError('conflict', `Cannot renumber ${formatRef(ref)}: ${state}`);
    }
    const { onEvent } = this.#options;
    const parts = { ...this.#parts, saver: this.#saver, versions: this.#versions, onEvent };
    const to = await renumber(parts, ref);
    this.#wake();
    return to;
  }

  /** What is owed to the cloud, oldest first. */
  async uploads(
    options: { limit?: number; cursor?: number } = {},
  ): Promise<ListPage<OwedUpload, number>> {
    const limit = options.limit ?? PAGE.default;
    const jobs = this.#jobs.list(options.cursor ?? 0, limit + 1);
    const items = jobs.slice(0, limit).map((job) => ({
      ...refOf(job),
      step: stepOf(job),
      since: toIso(job.since)!,
      attempts: job.attempts,
      dueAt: job.parked ? null : toIso(job.due_at),
      parked: job.parked === 1,
      failure: job.failure,
    }));
    return { items, nextCursor: jobs.length > limit ? (jobs[limit - 1]?.id ?? null) : null };
  }

  /**
   * Sets the owner of a project: its user sees it from then on. Where the cloud has another one,
   * that stays, and is known here then, unless it is a transfer. What could not be uploaded for its
   * owner is tried again.
   *
   * @returns whether anything changed
   * @throws StorageError `not_found`, `conflict` where it has another owner
   */
  async setOwner(projectId: string, ownerId: string, { transfer = false } = {}): Promise<boolean> {
    const project = parseId(projectId, 'project id');
    const owner = parseOwner(ownerId);
    await this.#scan.project(project);
    const isHere = this.#catalog.hasProject(project);
    const known = this.#catalog.ownerOf(project);
    const refuse = (other: string) =>
      new StorageError(
        'conflict',
        `Cannot give "${project}" to "${owner}": it has an owner, "${other}" (--transfer gives it to another)`,
      );
    const ask = async () => {
      const answer = await this.#cloud?.records.setOwner(project, owner, { transfer });
      if (answer?.outcome !== 'conflict') return answer?.outcome ?? 'missing';
      // The cloud decides.
      if (isHere) await takeOwner(this.#parts, project, answer.owner_id!);
      throw refuse(answer.owner_id!);
    };

    let outcome = await ask();
    const isSet = outcome === 'set' || outcome === 'known';
    if (!isHere && !isSet) throw new StorageError('not_found', `Cannot find "${project}"`);
    if (!isSet && !transfer && known !== null && known !== owner) throw refuse(known);
    if (isHere && known !== owner) {
      await takeOwner(this.#parts, project, owner);
      // A reservation may have made the project meanwhile, of nobody.
      if (outcome === 'missing') outcome = await ask();
    }
    await this.#catalog.write(() => {
      this.#catalog.dropNamedOwners(project);
      this.#jobs.unpark(this.#options.now(), project);
    });
    this.#wake();
    return outcome === 'set' || (isHere && known !== owner);
  }

  /** Takes up again what was parked. Returns how many uploads and deletions that were. */
  async retryParked(): Promise<number> {
    const { now } = this.#options;
    const count = await this.#catalog.write(() => this.#jobs.unpark(now()));
    this.#wake();
    return count;
  }

  /** Evicts cached copies that are too old or too much, never one that may be in use. */
  async cleanupCache(): Promise<{ evicted: number; bytes: number }> {
    const { evicted, bytes } = await this.#cache.cleanup();
    if (evicted > 0) this.#options.onEvent({ kind: 'evict', copies: evicted, bytes });
    return { evicted, bytes };
  }

  /**
   * Takes originals out of the store that are in the cloud, their bytes proven and asked for again;
   * they are got from there from then on. What is active stays.
   *
   * @param options.olderThanMs those that were saved so long ago
   * @throws StorageError `unavailable`
   */
  async cleanupStore(options: { olderThanMs: number }): Promise<Evicted> {
    const cloud = checkCloudOn(this.#cloud);
    await this.#scan.whole();
    const before = new Date(this.#options.now() - options.olderThanMs).toISOString();
    const { onProblem } = this.#options;
    const evicted = await evictStored({ ...this.#parts, ...cloud, onProblem }, before);
    this.#wake();
    return evicted;
  }

  async status(): Promise<StorageStatus> {
    const { cloud, storePath } = this.#options;
    const { pending = 0, local = 0, ...others } = this.#catalog.countByStatus();
    const { nextDueAt, since, ...counts } = this.#jobs.counts();
    return {
      storePath,
      cloud: {
        enabled: cloud !== null,
        url: cloud?.url ?? null,
        bucket: cloud?.bucket ?? null,
      },
      scan: this.#scan.progress,
      generations:
        cloud === null ? { ...others, local: local + pending } : { ...others, local, pending },
      outbox: {
        ...counts,
        since: toIso(since),
        nextDueAt: toIso(nextDueAt),
        paused: this.#outbox?.paused != null,
        reason: this.#outbox?.paused?.reason ?? null,
      },
    };
  }

  /**
   * Waits until the whole disk is read into the catalog, which a start begins after a power loss or
   * where the catalog was lost. Until then {@link status} and {@link uploads} may know less.
   *
   * @param timeoutMs the longest wait, in milliseconds
   * @returns whether it is
   */
  async scanned(timeoutMs: number): Promise<boolean> {
    await Promise.race([this.#scan.whole(), sleep(timeoutMs, null, { ref: false })]);
    return this.#scan.progress === null;
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
      const ending = [
        this.#scan.stop(),
        this.#outbox?.stop(),
        this.#upkeep.stop(),
        ...this.#repeated.map((repeated) => repeated.stop()),
      ];
      this.#stopped.abort(new StorageError('unavailable', 'The agent is shutting down'));
      await Promise.all(ending);
      await this.#workers.close();
      await this.#store.close();
      await this.#cache.close();
    } finally {
      this.#catalog.close();
      this.#instance.close(!this.#catalog.isDamaged);
    }
  }

  /** What the catalog knows, or the disk where the catalog does not. */
  async #findKnown(want: RefInput): Promise<GenerationRow | null> {
    const { projectId, version, generationId } = want;
    await this.#scan.project(projectId);
    const row = this.#catalog.find(projectId, version);
    const isThis = row !== null && matches(refOf(row), want);
    if (generationId !== undefined && !isThis) {
      const moved = this.#store.movedTo({ projectId, version, generationId });
      if (moved !== null) return this.#findKnown({ projectId, version: moved, generationId });
    }
    if (row !== null) return row;
    const found = this.#store.locate(projectId, version);
    if (found === null) return null;
    await takeUp(this.#parts, found);
    this.#wake();
    return this.#catalog.find(projectId, version);
  }

  async #find(input: RefInput): Promise<GenerationRow> {
    const row = await this.#findAny(input);
    if (row.state !== 'stored') throw notFound(refOf(row));
    return row;
  }

  async #findAny(input: RefInput): Promise<GenerationRow> {
    const want = parseRefInput(input);
    const row = await this.#findKnown(want);
    if (row === null || !matches(refOf(row), want)) throw notFound(want);
    return row;
  }

  #statusOf(row: GenerationRow): Status {
    if (row.state === 'deleted') return 'deleted';
    // Of the Python system, and not migrated: nothing is owed for it.
    const stays = this.#options.cloud === null || row.digest === null;
    return row.status === 'pending' && stays ? 'local' : row.status;
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
}

/** @throws StorageError `unavailable` while the cloud is off */
function checkCloudOn<T>(cloud: T | null): T {
  if (cloud !== null) return cloud;
  throw new StorageError('unavailable', 'Cannot ask the cloud: the cloud is off');
}

function matches(ref: Ref, want: RefInput): boolean {
  return want.generationId === undefined || want.generationId === ref.generationId;
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

/** What a browser saves an archive as. */
function archiveName({ projectId, version }: Ref): string {
  return `${projectId}-v${version}.tar.gz`;
}

function parseExpiry(expiresIn: number | undefined): number {
  const seconds = expiresIn ?? URL_EXPIRY.default;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= URL_EXPIRY.max) return seconds;
  throw new StorageError(
    'invalid_input',
    `Cannot sign a URL for ${seconds} seconds: it is good for 1 to ${URL_EXPIRY.max}`,
  );
}

/** @throws StorageError `conflict` where the version is another generation's */
function checkHolder(row: GenerationRow, ref: Ref): void {
  if (row.generation_id === ref.generationId) return;
  throw new StorageError(
    'conflict',
    `Cannot migrate ${formatRef(ref)}: the version is held by generation "${row.generation_id}"`,
  );
}

/** Of what was given up, the step at which it was. */
function stepOf({ kind, given_up_at: givenUpAt }: OwedJob): OwedUpload['step'] {
  const step = givenUpAt ?? kind;
  return step === 'fail' ? 'reserve' : step;
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}

function notFound(ref: Pick<Ref, 'projectId' | 'version'>): StorageError {
  return new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
}
