import { rm } from 'node:fs/promises';
import { setImmediate as breathe } from 'node:timers/promises';
import { refOf } from '../catalog/generation-row.ts';
import { isAnyRunning } from '../catalog/instance.ts';
import type { CloudHosts, CloudLinks } from '../cloud/cloud.ts';
import { checkCloudOn } from '../cloud/cloud.ts';
import type { CloudGeneration, CloudProject } from '../cloud/listing.ts';
import {
  diffFiles,
  type FilesDiff,
  formatRef,
  parseId,
  type Ref,
  StorageError,
} from '../contract.ts';
import { deleteGeneration } from '../delete/delete.ts';
import { deleteProject } from '../delete/delete-project.ts';
import { type PurgeReport, purge } from '../delete/purge.ts';
import { type UndeleteOptions, undelete } from '../delete/undelete.ts';
import { undeleteProject } from '../delete/undelete-project.ts';
import { checkWritable } from '../disk/check-writable.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { type ArchiveOnDisk, getArchive } from '../read/archive.ts';
import { type DownloadUrl, parseExpiry } from '../read/download-url.ts';
import type { EventFeed } from '../read/event-feed.ts';
import { matches, parseRefInput, type RefInput } from '../read/find.ts';
import type { LocalGeneration } from '../read/get.ts';
import { type ListPage, listGenerations, listProjects, type ProjectSummary } from '../read/list.ts';
import { listCloud, listCloudProjects } from '../read/list-cloud.ts';
import type { OpenFile, OpenGeneration } from '../read/open.ts';
import type { PathSigner } from '../read/signed-path.ts';
import { listDays, listRange, type Range, type Span } from '../read/stats.ts';
import { readMetadata, type Summary, summaryOf } from '../read/summary.ts';
import type { Replicas } from '../replicate/replicas.ts';
import type { RestoreReport } from '../restore/report.ts';
import { type RestoreOptions, restore } from '../restore/restore.ts';
import type { Receipt } from '../save/receipt.ts';
import type {
  SaveDetails,
  SaveFolderInput,
  SaveInput,
  SaveTarInput,
  SaveZipInput,
} from '../save/request.ts';
import type { GenerationWriter } from '../save/writer.ts';
import { Layout } from '../store/layout.ts';
import type { LeftOut } from '../store/left-out.ts';
import { UnderWay } from '../threads/under-way.ts';
import { within } from '../threads/within.ts';
import { activate } from '../upkeep/activate.ts';
import type { Evicted } from '../upkeep/evict.ts';
import { evictCached } from '../upkeep/evict-cached.ts';
import { evictStored } from '../upkeep/evict-stored.ts';
import { evictTrees } from '../upkeep/evict-trees.ts';
import { convert, unpackOld } from '../upkeep/legacy.ts';
import { openAll } from '../upkeep/open-all.ts';
import { mendInCloud, proveInCloud } from '../upkeep/proof.ts';
import { type ScrubReport, scrub } from '../upkeep/scrub.ts';
import { tryWriting } from '../upkeep/try-writing.ts';
import type { Verified, VerifyOptions } from '../upkeep/verify.ts';
import type { OwedUpload } from '../upload/owed.ts';
import { recordArchive } from '../upload/record-archive.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import type { Parts } from './parts.ts';
import {
  bringContentBack,
  findReplaced,
  listReplaced,
  type ReplacedContent,
} from './replaced-content.ts';
import { measureSizes, type Sizes } from './sizes.ts';
import { type CountedStatus, countStatus, getStatus, type StorageStatus } from './status.ts';

/** How long the cloud may take to be told what is active, in milliseconds. */
const TELL_MS = 1000;
/** How long a restore waits for the database to be told of what it found, in milliseconds. */
const RESTORED_MS = 600_000;
/** How long what was undone may take to be told, before it is fetched, in milliseconds. */
const UNDONE_MS = 5000;
/** How long {@link Storage.close} lets uploads that are due run, in milliseconds. */
const DRAIN_MS = 10_000;
/** How long it lets webhooks be told of that, in milliseconds: who runs on does it later. */
const TOLD_MS = 3000;

/**
 * Generations on this host: saved, got, listed, deleted, and brought to the cloud in the background.
 * This is the door: it decides nothing, and has each call done where it belongs.
 */
export class Storage {
  readonly #parts: Parts;
  readonly #changes = new UnderWay();
  #closed: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What happened here, and what happens: of every process that has this store open. */
  get events(): EventFeed {
    return this.#parts.events;
  }

  /** Second copies, in buckets elsewhere. */
  get replicas(): Replicas {
    return this.#parts.replicas;
  }

  /** Who is told of it by HTTP, at once or once they can be. */
  get webhooks(): Webhooks {
    return this.#parts.webhooks;
  }

  /**
   * Saves a generation: on disk and safe from a power loss when this returns, in the cloud soon
   * after. Saving the same content again changes nothing.
   *
   * @throws StorageError `invalid_input` that names the path, `too_large`, `conflict` where the
   *   version holds something else, `disk_full`; nothing of it is left then
   */
  async save(input: SaveInput): Promise<Receipt> {
    return this.#parts.saves.files(input);
  }

  /**
   * Saves a generation that came as the JSON of the HTTP API.
   *
   * @param body its bytes, in memory that threads share
   * @param requestId what is told of it says which request it came of
   * @throws StorageError as {@link save}
   */
  async saveJson(body: Uint8Array<SharedArrayBuffer>, requestId: string): Promise<Receipt> {
    return this.#parts.saves.json(body, requestId);
  }

  /**
   * Saves the files of a folder: all of them, but what is left out. That is counted in the receipt.
   *
   * @throws StorageError as {@link save}, and `conflict` where a file changes while it is read
   */
  async saveFolder(input: SaveFolderInput): Promise<Receipt> {
    return this.#parts.saves.folder(input);
  }

  /**
   * Saves files that come one after another: nothing is held in memory, and nothing is there
   * before the writer's `commit`.
   *
   * @throws StorageError `invalid_input`
   */
  writer(details: SaveDetails): GenerationWriter {
    return this.#parts.saves.writer(details);
  }

  /**
   * Saves the files of a tar, gzipped or not, as it streams in.
   *
   * @throws StorageError as {@link save}, and `corrupt` where it is no tar
   */
  async saveTar(input: SaveTarInput): Promise<Receipt> {
    return this.#parts.saves.tar(input);
  }

  /**
   * Saves the files of a zip. It is kept on disk until it is whole: what is in it stands at its end.
   *
   * @throws StorageError as {@link save}, and `corrupt` where it is no whole zip
   */
  async saveZip(input: SaveZipInput): Promise<Receipt> {
    return this.#parts.saves.zip(input);
  }

  /**
   * Makes a generation the active one of its project: `generations/active` links to it, and the cloud
   * is told, now or once it has it. What the web app makes the active one becomes it here, too: the
   * last word counts. Saving never changes what is active.
   *
   * @throws StorageError `not_found` where it is not in the store
   */
  async activate(input: RefInput): Promise<Ref> {
    const ref = await this.#change('activate a generation', async () =>
      activate(this.#parts, await this.#parts.finder.getStored(input)),
    );
    // What cannot be told now is told within a minute of when it can.
    await within(
      TELL_MS,
      this.#parts.uploads.tellActive(ref.projectId).catch(() => {}),
    );
    return ref;
  }

  /**
   * Lays out the trees of all generations in the store, or of those of one project, each for good: what
   * the Python system reads. One after another, by project and version.
   *
   * @returns each, and why it could not be laid out
   */
  async *openAll(
    projectId: string | null = null,
  ): AsyncIterable<Readonly<{ ref: Ref; path: string; problem: string | null }>> {
    checkWritable(this.#parts.unwritable, 'lay trees out');
    await this.#parts.scan.whole();
    yield* openAll(this.#parts, projectId);
  }

  /** The active version of a project; `null` where none is. */
  async activeVersion(projectId: string): Promise<number | null> {
    return this.#parts.store.active.find(parseId(projectId, 'project id'));
  }

  /**
   * Gets a generation to read: from the store, else from the cache, else from the cloud. Its
   * folder is not to be changed, and stays for ten minutes at least where it is a cached copy.
   *
   * @throws StorageError `not_found`, `unavailable` where only the cloud has it and is away,
   *   `corrupt` where what the cloud has is not what was recorded
   */
  async get(input: RefInput): Promise<LocalGeneration> {
    return this.#parts.getter.get(input);
  }

  /**
   * Opens a generation to read files of it, from wherever it is: no tree is laid out for that. Whoever
   * opened it closes it.
   *
   * @param options.isWhole whether all of it is to be read: then a damaged archive is noticed first,
   *   unless it is large
   * @throws StorageError as {@link get}
   */
  async open(input: RefInput, options: { isWhole?: boolean } = {}): Promise<OpenGeneration> {
    return this.#parts.opener.open(input, options);
  }

  /**
   * Opens one source file of a generation. What is damaged is noticed before the first byte is handed
   * out, unless the file is large. Whoever opened it closes it.
   *
   * @throws StorageError as {@link get}, and `not_found` where there is no such file
   */
  async openFile(input: RefInput, path: string): Promise<OpenFile> {
    return this.#parts.opener.openFile(input, path);
  }

  /**
   * Compares the files of two versions, from wherever they are.
   *
   * @throws StorageError as {@link get}
   */
  async diff(projectId: string, from: number, to: number): Promise<FilesDiff> {
    const [before, after] = await Promise.all(
      [from, to].map(async (version) => {
        const generation = await this.open({ projectId, version });
        try {
          return await generation.files();
        } finally {
          await generation.close();
        }
      }),
    );
    return diffFiles([...before!], [...after!]);
  }

  /** What is known of a generation, none of whose files is read. @throws StorageError `not_found` */
  async summary(input: RefInput): Promise<Summary> {
    return summaryOf(await this.#parts.finder.getStored(input), this.#parts);
  }

  /**
   * As {@link summary}, and what was saved with it.
   *
   * @returns `metadata` is what was saved with it; `null` where neither this host nor the cloud can be read now
   * @throws StorageError `not_found`
   */
  async show(
    input: RefInput,
  ): Promise<
    Summary & Readonly<{ metadata: Record<string, unknown> | null; replaced: ReplacedContent[] }>
  > {
    const summary = await this.summary(input);
    const metadata = await readMetadata(this.#parts, summary);
    return { ...summary, metadata, replaced: listReplaced(this.#parts, summary) };
  }

  /** The generations of a project, newest version first. A project that is not there has none. */
  async list(
    projectId: string,
    options: { limit?: number; cursor?: number } = {},
  ): Promise<ListPage<Summary, number>> {
    return listGenerations(this.#parts, projectId, options);
  }

  /** The projects, by id. */
  async listProjects(
    options: { limit?: number; cursor?: string } = {},
  ): Promise<ListPage<ProjectSummary, string>> {
    return listProjects(this.#parts, options);
  }

  /**
   * A signed URL for the archive: the cloud's once it is in the bucket, else this host's own where
   * a daemon runs on the store that serves it; else `null`. What this host does not know the cloud may
   * have all the same, as after the loss of a disk.
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
    const { finder, urls, cloud } = this.#parts;
    const want = parseRefInput(input);
    if (cloud !== null && (await finder.findAny(want)) === null) {
      return urls.createUnknown(cloud, want, expiresIn);
    }
    const row = await finder.getStored(want);
    return urls.create(row, { expiresIn, fromCloud: options.fromCloud === true });
  }

  /**
   * Lets every process on the store give out download URLs that this one serves, until it closes.
   *
   * @param url what stands before the path: `http://127.0.0.1:8787`
   */
  announce(url: string): void {
    this.#parts.urls.announce(url);
  }

  /** Has the key that signs download URLs be there: it is made now where it is not. */
  makeUrlKey(): void {
    this.#parts.urls.makeKey();
  }

  /** What tells whether a download URL of this host is genuine. */
  get signer(): PathSigner {
    return this.#parts.urls.signer;
  }

  /**
   * The archive of a generation in the store, as a file to read at once.
   *
   * @throws StorageError `not_found`, `corrupt`
   */
  async archive(input: RefInput): Promise<ArchiveOnDisk> {
    return getArchive(this.#parts, await this.#parts.finder.getStored(input));
  }

  /**
   * Deletes a generation: on disk at once, in the cloud soon after. Deleting twice is fine.
   *
   * @returns whether there was something to delete
   * @throws StorageError `not_found` where it never was
   */
  async delete(
    input: RefInput,
    { requestId = null }: { requestId?: string | null } = {},
  ): Promise<{ ref: Ref; deleted: boolean }> {
    const deletion = await this.#change('delete a generation', async () =>
      deleteGeneration(this.#parts, await this.#parts.finder.getKnown(input), requestId),
    );
    this.#parts.wake();
    return deletion;
  }

  /**
   * Deletes all generations of a project that this host knows of, as {@link delete} does. What another
   * host saved to it stays.
   *
   * @returns how many there were to delete
   * @throws StorageError `not_found` where nothing of it ever was here
   */
  async deleteProject(
    projectId: string,
    { requestId = null }: { requestId?: string | null } = {},
  ): Promise<{ projectId: string; deleted: number }> {
    const deletion = await this.#change('delete a project', () =>
      deleteProject(this.#parts, projectId, requestId),
    );
    this.#parts.wake();
    return deletion;
  }

  /**
   * Undoes a deletion, or brings content back that was replaced: what this host keeps is back at once, what the cloud
   * keeps is got from there. Where there is nothing to undo, all is as it is.
   *
   * @returns whether there was something to undo
   * @throws StorageError `not_found` where it is kept nowhere any more; `unavailable` where the cloud is away
   */
  async undelete(
    input: RefInput,
    options: UndeleteOptions = {},
  ): Promise<{ ref: Ref; undeleted: boolean }> {
    return this.#change('undelete a generation', async () => {
      const want = parseRefInput(input);
      const found = await this.#parts.finder.findAny(want);
      const row = found !== null && matches(refOf(found), want) ? found : null;
      const kept = findReplaced(this.#parts, row, options.digest);
      const undeletion =
        kept === null
          ? await undelete(this.#parts, want, row, options)
          : await bringContentBack(this.#parts, kept, options);
      if (undeletion.undeleted) await this.#bringBack(undeletion.ref);
      return undeletion;
    });
  }

  /**
   * Undoes the deletion of all generations of a project that this host or the cloud still keeps.
   *
   * @returns how many are back, and of how many nothing is kept where it can be had from
   * @throws StorageError `not_found` where nothing of it ever was; `unavailable` where the cloud is away
   */
  async undeleteProject(
    projectId: string,
    options: Pick<UndeleteOptions, 'requestId'> = {},
  ): Promise<{ projectId: string; undeleted: number; gone: number }> {
    const answer = await this.#change('undelete a project', () =>
      undeleteProject(this.#parts, projectId, options, (ref) => this.#bringBack(ref)),
    );
    return { projectId, ...answer };
  }

  /** What the cloud has again lies here again, where it did: it is back, wherever it lies. */
  async #bringBack(ref: Ref): Promise<void> {
    const { catalog, bringBack, onProblem, wake } = this.#parts;
    wake();
    if (catalog.jobs.isDeletionOwed(ref)) await this.drain(UNDONE_MS);
    await bringBack(ref).catch(onProblem);
    wake();
  }

  /**
   * Purges what was deleted or replaced and is kept no longer. It is done in the background, too.
   *
   * @throws StorageError `unavailable` where the cloud is away
   */
  purge(): Promise<PurgeReport> {
    return purge(this.#parts);
  }

  /**
   * Brings everything that the cloud has into this store, verified: generations, owners, what is active, what is
   * deleted, which versions are taken. What is here stays. May be repeated, and stopped: what is done is passed over.
   *
   * @returns what came, and what could not be had with its reason
   * @throws StorageError `not_found` where the database is not there, or no such replica, `unavailable`, `disk_full`
   */
  async restore(options: RestoreOptions = {}): Promise<RestoreReport> {
    const { replicas, unwritable } = this.#parts;
    if (options.dryRun !== true) checkWritable(unwritable, 'restore');
    const cloud = checkCloudOn(this.#parts.cloud);
    const replica = options.from === undefined ? null : await replicas.source(options.from);
    const settle = async () => {
      await this.drain(RESTORED_MS);
      return this.#parts.catalog.jobs.counts().owed === 0;
    };
    return restore({ ...this.#parts, replica, settle }, cloud, options);
  }

  /** The hosts that have a key of their own. @throws StorageError `unavailable` while the cloud is off */
  get hosts(): CloudHosts {
    return checkCloudOn(this.#parts.cloud).hosts;
  }

  /** The links that users made to generations. @throws StorageError `unavailable` while the cloud is off */
  get links(): CloudLinks {
    return checkCloudOn(this.#parts.cloud).links;
  }

  /** The projects that the cloud knows, by id, whoever saved to them. @throws StorageError `unavailable`, `not_found` */
  listCloudProjects(
    options: { limit?: number; cursor?: string } = {},
  ): Promise<ListPage<CloudProject, string>> {
    return listCloudProjects(checkCloudOn(this.#parts.cloud), options);
  }

  /** The generations of a project that the cloud knows, by version, whoever saved them. @throws as the projects */
  listCloud(
    projectId: string,
    options: { limit?: number; cursor?: number } = {},
  ): Promise<ListPage<CloudGeneration, number>> {
    return listCloud(checkCloudOn(this.#parts.cloud), projectId, options);
  }

  /** What is owed to the cloud, oldest first. */
  async uploads(
    options: { limit?: number; cursor?: number } = {},
  ): Promise<ListPage<OwedUpload, number>> {
    return this.#parts.uploads.list(options);
  }

  /**
   * Has tried again what was parked, of one project or of all, and at once what waits for its next try.
   * Returns how many uploads and deletions were parked.
   */
  async retryParked(projectId: string | null = null): Promise<number> {
    checkWritable(this.#parts.unwritable, 'try uploads again');
    return this.#parts.uploads.retryParked(projectId);
  }

  /**
   * Owes everything to the cloud again, or all of one project: what it still has is found to be
   * there, what it lost is sent, what was deleted is deleted.
   *
   * @returns how many generations that are
   */
  async resend(projectId: string | null = null): Promise<number> {
    checkWritable(this.#parts.unwritable, 'send again');
    return this.#parts.uploads.resend(projectId);
  }

  /**
   * Saves a generation anew under the next version that is free here and in the cloud: for what
   * cannot be uploaded under its own, another generation or other content having it there.
   *
   * @returns its new ref; the old one leads there with the generation id
   * @throws StorageError `not_found`, `conflict` where it is in the cloud, `unavailable`
   */
  async renumber(input: RefInput): Promise<Ref> {
    return this.#change('renumber a generation', async () =>
      this.#parts.uploads.renumber(await this.#parts.finder.getStored(input)),
    );
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
    return this.#change('set an owner', () =>
      this.#parts.uploads.setOwner(projectId, ownerId, { transfer }),
    );
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
    return this.#parts.uploads.learnChanges();
  }

  /**
   * Tells the cloud which generations are active here, where somebody said so, and follows what was said
   * elsewhere. Happens by itself every minute.
   *
   * @returns how many links it set; none while the cloud is off
   * @throws StorageError `unavailable`
   */
  async exchangeActive(): Promise<number> {
    return this.#parts.uploads.exchangeActive();
  }

  /**
   * Writes into the bucket whose each project is, what is active in it and what is deleted, where that has changed:
   * a restore without the database goes by it. It is done in the background, too.
   *
   * @returns of how many projects
   * @throws StorageError `unavailable`
   */
  async writeProjectFiles(): Promise<number> {
    return this.#parts.uploads.writeProjectFiles();
  }

  /**
   * Removes objects from the bucket that nothing needs and whose host did not. Happens by itself
   * every hour.
   *
   * @returns how many that were; none while the cloud is off
   * @throws StorageError `unavailable`
   */
  async removeUnneeded(): Promise<number> {
    return this.#parts.uploads.removeUnneeded();
  }

  /**
   * Asks whether the cloud still has a generation as it was recorded; where it has not, it is owed
   * to it again.
   *
   * @returns what is the matter; `null` where nothing is
   * @throws StorageError `not_found`, `unavailable`
   */
  async confirmInCloud(input: RefInput): Promise<string | null> {
    const row = await this.#parts.finder.getStored(input);
    const parts = { ...this.#parts, ...checkCloudOn(this.#parts.cloud) };
    const problem = await proveInCloud(parts, row);
    if (problem === null) return null;
    await mendInCloud(parts, row, problem);
    this.#parts.wake();
    return problem.reason;
  }

  /**
   * Reads an archive back from the cloud, all of it, and compares it with what was recorded.
   *
   * @throws StorageError `corrupt`, `unavailable`
   */
  async verifyInCloud(input: RefInput): Promise<void> {
    const row = await this.#parts.finder.getStored(input);
    const parts = { ...this.#parts, ...checkCloudOn(this.#parts.cloud) };
    const problem = await proveInCloud(parts, row, { readBack: true });
    if (problem === null) return;
    throw new StorageError('corrupt', `Cannot verify ${formatRef(refOf(row))}: ${problem.reason}`);
  }

  /**
   * Reads generations of store and cloud, and compares every byte with the recorded hashes. What is damaged
   * is repaired where `options.repair` says so.
   *
   * @throws StorageError `unavailable` where the cloud cannot be asked
   */
  async *verify(options: VerifyOptions = {}): AsyncIterable<Verified> {
    yield* this.#parts.verify(options);
  }

  /**
   * Reads the part of store, cache and cloud whose turn it is, so that all is read within `SCRUB_DAYS`, and mends what is
   * damaged from the other good copy. It is done in the background, too.
   *
   * @param signal ends it
   * @returns how many generations and copies it read, and how many of them were damaged
   */
  scrub(signal: AbortSignal = new AbortController().signal): Promise<ScrubReport> {
    return scrub(this.#parts, signal);
  }

  /** Evicts cached copies that are too old or too much, never one that may be in use. */
  async cleanupCache(): Promise<{ evicted: number; bytes: number }> {
    return evictCached(this.#parts, this.#parts.keepLimits);
  }

  /**
   * Removes trees that are too old or too much, by the settings of the cache; each is laid out again
   * where it is asked for. Never the active ones, nor what was handed out in the last ten minutes.
   *
   * @param options.all whether any other goes, however young
   */
  async cleanupTrees({ all = false } = {}): Promise<{ evicted: number; bytes: number }> {
    const limits = all ? { maxAgeMs: 0, maxBytes: 0 } : this.#parts.keepLimits;
    return evictTrees(this.#parts, limits);
  }

  /**
   * Takes originals out of the store that are in the cloud, their bytes proven and asked for again;
   * they are got from there from then on. What is active stays.
   *
   * @param options.olderThanMs those that were saved so long ago
   * @throws StorageError `unavailable`
   */
  async cleanupStore(options: { olderThanMs: number }): Promise<Evicted> {
    const { scan, now, cloud, unwritable, storePath } = this.#parts;
    const parts = { ...this.#parts, ...checkCloudOn(cloud) };
    const own = new Layout(storePath);
    if (unwritable !== null) {
      if (isAnyRunning(own.instances)) {
        checkWritable(
          unwritable,
          'take originals out of the store while another process has it open',
        );
      }
      // Before anything goes: the catalog that cannot be told of it compares itself with the disk then.
      await rm(own.epoch, { force: true }).catch((error: unknown) => {
        throw fromFileSystem(error, 'take originals out of the store');
      });
    }
    await scan.whole();
    const before = new Date(now() - options.olderThanMs).toISOString();
    const evicted = await evictStored(parts, before);
    this.#parts.wake();
    return evicted;
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
    checkWritable(this.#parts.unwritable, 'migrate');
    const leftOut = await convert(this.#parts, ref, await this.#parts.finder.findAny(ref));
    this.#parts.wake();
    return leftOut;
  }

  /**
   * Takes in a generation that the Python system archived, where it is not there already.
   *
   * @param archive its tar.gz
   * @throws StorageError `conflict`, `corrupt`, `invalid_input` that names an entry, `too_large`
   */
  async takeIn(ref: Ref, archive: string): Promise<void> {
    checkWritable(this.#parts.unwritable, 'migrate');
    await unpackOld(this.#parts, ref, await this.#parts.finder.findAny(ref), archive);
  }

  /**
   * The keys of all archives in the bucket, or of those of one project.
   *
   * @throws StorageError `unavailable`
   */
  async *archivesInBucket(only: string | null): AsyncIterable<string> {
    const { objects } = checkCloudOn(this.#parts.cloud);
    for await (const projectId of objects.listProjects(only)) {
      for await (const { key } of objects.listArchives(projectId)) yield key;
    }
  }

  /**
   * Makes the row of an archive that is in the bucket without one: it is read back for its hash.
   *
   * @returns whether there was anything to do
   * @throws StorageError `conflict` where another generation has the version, `unavailable`
   */
  async recordArchive(ref: Ref, key: string, ownerId: string | null): Promise<boolean> {
    const createdAt = new Date(this.#parts.now()).toISOString();
    return recordArchive(checkCloudOn(this.#parts.cloud), ref, { key, ownerId, createdAt });
  }

  /** How it is: what is kept, what is owed, and whether the cloud is there. */
  async status(): Promise<StorageStatus> {
    return getStatus(this.#parts);
  }

  /**
   * What was done on the last days, in UTC, today last: saves, uploads, bytes, durations, failures.
   *
   * @throws StorageError `invalid_input` for more days than are kept
   */
  stats(days: number): Span[] {
    return listDays(this.#parts.catalog, days, this.#parts.now());
  }

  /** The same of the last hour by the minute, of the last day by the quarter, or of 30 days by the day. */
  activity(range: Range): Span[] {
    return listRange(this.#parts.catalog, range, this.#parts.now());
  }

  /** As {@link status}, with what has to be counted on disk: it takes longer the more there is. */
  async countedStatus(): Promise<CountedStatus> {
    return countStatus(this.#parts);
  }

  /** How many bytes are kept, and where. It takes longer the more there is. */
  async sizes(): Promise<Sizes> {
    return measureSizes(this.#parts);
  }

  /**
   * Tries whether generations can be saved, by writing to the store and its catalog. The cloud does not
   * matter for that.
   *
   * @throws StorageError that says what cannot be written: `disk_full`, `read_only`, `forbidden`,
   *   `unavailable`
   */
  async tryWriting(): Promise<void> {
    await tryWriting(this.#parts);
  }

  /**
   * Waits until the whole disk is read into the catalog, which a start begins after a power loss or
   * where the catalog was lost. Until then {@link status} and {@link uploads} may know less.
   *
   * @param timeoutMs the longest wait, in milliseconds
   * @returns whether it is
   */
  async scanned(timeoutMs: number): Promise<boolean> {
    const { scan } = this.#parts;
    await within(timeoutMs, scan.whole());
    return scan.progress === null;
  }

  /**
   * Waits until all that can be uploaded now is: what waits for a retry or is parked stays owed.
   *
   * @param timeoutMs the longest wait, in milliseconds
   */
  async drain(timeoutMs: number = DRAIN_MS): Promise<void> {
    // Where nothing is to be done either: who asks again and again would keep everybody else from it.
    await breathe();
    await this.#parts.outbox?.drain(timeoutMs);
  }

  /** Ends the storage: lets what is under way finish for a bounded time, leaves the rest owed. */
  close(options: { drainMs?: number } = {}): Promise<void> {
    this.#closed ??= this.#close(options.drainMs ?? DRAIN_MS);
    return this.#closed;
  }

  /** What a user changes is done, or not begun, when the storage is closed. */
  #change<T>(doing: string, work: () => Promise<T>): Promise<T> {
    return this.#changes.run(doing, () => {
      checkWritable(this.#parts.unwritable, doing);
      return work();
    });
  }

  async #close(drainMs: number): Promise<void> {
    const { saves, background, stop, workers, store, cache, catalog, instance } = this.#parts;
    try {
      this.#changes.close();
      await saves.close();
      if (drainMs > 0) {
        await Promise.all([this.drain(drainMs), background.settled(drainMs)]);
        await background.told(Math.min(drainMs, TOLD_MS));
        // Where no daemon runs nobody else does. What fails is done by the next one.
        const written = this.#parts.uploads.writeProjectFiles().catch(() => 0);
        await within(Math.min(drainMs, TELL_MS), written);
      }
      await background.giveCopiesBack(TELL_MS);
      const ending = background.stop();
      stop(new StorageError('unavailable', 'The agent is shutting down'));
      await ending;
      // What of them waited for the cloud does not any more.
      await this.#changes.settled();
      await workers.close();
      await store.staging.close();
      await cache.entries.close();
    } finally {
      catalog.close();
      instance.close(!catalog.isDamaged);
    }
  }
}
