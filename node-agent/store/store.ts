import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { type FileHandle, readdir, realpath, rm } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { BlockIndex } from '../archive/pack.ts';
import type { Unpacked, UnpackInput } from '../archive/unpack.ts';
import {
  folderName,
  formatRef,
  isId,
  type Limits,
  type Manifest,
  parseFolderName,
  type Ref,
  StorageError,
} from '../contract.ts';
import { openFileInside } from '../disk/open-inside.ts';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import { findManifest, findText, readManifest } from '../disk/read-manifest.ts';
import type { CommitInput } from './commit.ts';
import { fromFileSystem, makeFolder, moveFolder, syncPath, writeFileDurably } from './durable.ts';
import { type ArchiveFacts, hashFile } from './hash.ts';
import { inGeneration, type Layout } from './layout.ts';
import type { LeftOut } from './left-out.ts';
import { type Described, flatRef, flatSource, isFlat, listFlat, mayBeFlat } from './legacy/flat.ts';
import type { ListedSource, Source } from './source.ts';
import type { Digested, Staged, StageInput } from './stage.ts';

/** The mark that something was deleted, or has another version now. */
export type Tombstone = Readonly<{
  project_id: string;
  version: number;
  generation_id: string;
  deleted_at: string;
  /** Of the content that was deleted: what another host saved under the name is not. */
  digests?: readonly string[];
  /** The version that it has now. */
  moved_to?: number;
}>;

/** What is known of a project. */
export type ProjectFacts = Readonly<{
  /** Who was named at a save; `null` where nobody was. */
  ownerId: string | null;
  /** The highest version that the cloud is known to have; 0 where none is known. */
  cloudVersion: number;
}>;

type ProjectFile = { id?: string; owner_id?: string; cloud_version?: number };

/** What is kept with the files. */
export type SaveDetails = Readonly<{
  createdAt: string;
  metadata: Record<string, unknown>;
  ownerId: string | null;
  /** Whether it may take the place of other content, here or in the cloud. @default false */
  isReplacement?: boolean;
  /** Files that were made of its source, where it has any. */
  artifacts?: ListedSource | null;
}>;

/** A generation that can be read where it lies. Paths are absolute. */
export type StoredGeneration = Readonly<{ path: string; sourcePath: string; manifest: Manifest }>;

/**
 * A replacement that is under way. Paths are relative to staging: a store may be moved. `isCopied`: the
 * old content could not be renamed; it lies in the trash whole, and goes from its place piece by piece.
 */
type Journal = Readonly<{ ref: Ref; staged: string; trash: string; isCopied?: boolean }>;

/** What is on disk under a ref: a generation, or the mark that it was deleted or moved. */
export type OnDisk = Readonly<{ ref: Ref; deletedAt: string | null; movedTo: number | null }>;

/** The heavy work of a save, done elsewhere than on the event loop. */
export type StageWork = {
  stage(input: StageInput): Promise<Staged>;
  commit(input: CommitInput): Promise<Staged>;
  digest(source: Source, limits: Limits): Promise<Digested>;
  sync(folder: string): Promise<void>;
  repair(input: { folder: string; scratch: string; limits: Limits }): Promise<boolean>;
  repack(input: { folder: string; scratch: string }): Promise<ArchiveFacts>;
  convert(input: ConvertInput): Promise<LeftOut>;
  unpack(input: UnpackInput): Promise<Unpacked>;
  check(folder: string, signal?: AbortSignal): Promise<string[]>;
  describe(input: { root: string; projectId: string; limits: Limits }): Promise<Described>;
};

/** What the Python system left, in a folder relative to the store's root. */
export type ConvertInput = Readonly<{
  root: string;
  folder: string;
  scratch: string;
  limits: Limits;
}>;

/** Generations on disk: the truth. Nothing here knows of catalog or cloud. */
export class Store {
  readonly layout: Layout;
  readonly #limits: Limits;
  readonly #work: StageWork;
  readonly #staging: string;

  /** @param instanceId names the staging folder that is this process's own */
  constructor(layout: Layout, limits: Limits, instanceId: string, work: StageWork) {
    this.layout = layout;
    this.#work = work;
    this.#limits = limits;
    this.#staging = join(layout.staging, instanceId);
    mkdirSync(this.#staging, { recursive: true, mode: PRIVATE_FOLDER });
  }

  digest(source: Source): Promise<Digested> {
    return this.#work.digest(source, this.#limits);
  }

  /** A staging folder of this process with an empty `source/`, for files that come one by one. */
  openStaging(): string {
    const folder = join(this.#staging, randomUUID());
    try {
      mkdirSync(inGeneration.source(folder), { recursive: true, mode: PRIVATE_FOLDER });
    } catch (error) {
      throw fromFileSystem(error, 'save a generation');
    }
    return folder;
  }

  /** Where in staging a file of this process may lie. The caller makes and removes it. */
  stagePath(): string {
    return join(this.#staging, randomUUID());
  }

  /**
   * The digest of what is in an archive, made from its files.
   *
   * @throws StorageError `corrupt` where it is no archive of ours
   */
  async digestArchive(archive: string): Promise<string> {
    const folder = this.stagePath();
    try {
      const limits = this.#limits;
      return (await this.#work.unpack({ archive, folder, limits, trusted: false })).digest;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async dropStaging(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
  }

  /**
   * Puts a generation on disk for good: when this returns, it survives a power loss. When it
   * throws before the generation is in place, nothing of it is left.
   *
   * @throws StorageError `conflict` where the folder is there already
   */
  commit(ref: Ref, source: Source, details: SaveDetails): Promise<Staged> {
    return this.#withStaging(ref, source, (folder) =>
      this.#work.commit({
        ...this.#stageInput(ref, source, details),
        folder,
        replacement: details.isReplacement === true,
        place: this.layout.generation(ref),
        outermost: this.layout.project(ref.projectId),
      }),
    );
  }

  /**
   * Puts other content in the place of a generation. Two renames cannot be one, so a journal is
   * written before them: a crash in between is finished by {@link recoverReplacements}.
   *
   * @param swapped called once the new content is in place for good; where it fails, the old one
   *   is put back
   */
  async replace(
    ref: Ref,
    source: Source,
    details: SaveDetails,
    swapped: (staged: Staged) => Promise<void>,
  ): Promise<Staged> {
    const trash = join(this.#staging, randomUUID());
    const result = await this.#withStaging(ref, source, async (staged) => {
      const result = await this.#work.stage({
        ...this.#stageInput(ref, source, details),
        folder: staged,
        replacement: true,
      });
      await makeFolder(this.layout.replacing, this.layout.own);
      await this.#writeJournal({ ref, staged, trash });
      await this.#swap({ ref, staged, trash });
      return result;
    });
    try {
      await swapped(result);
    } catch (error) {
      await this.#swapBack(ref, trash);
      throw fromFileSystem(error, `save ${formatRef(ref)}`);
    }
    rmSync(this.layout.journal(ref), { force: true });
    await rm(trash, { recursive: true, force: true });
    return result;
  }

  async #writeJournal(journal: Journal): Promise<void> {
    const inStaging = (path: string) => relative(this.layout.staging, path);
    const { staged, trash } = journal;
    const kept = { ...journal, staged: inStaging(staged), trash: inStaging(trash) };
    const temporary = join(this.#staging, randomUUID());
    await writeFileDurably(this.layout.journal(journal.ref), JSON.stringify(kept), temporary);
  }

  async #swap(journal: Journal): Promise<void> {
    const { ref, staged, trash } = journal;
    const place = this.layout.generation(ref);
    const beforeRemoval = async () => {
      await this.#work.sync(trash);
      await this.#writeJournal({ ...journal, isCopied: true });
    };
    if (existsSync(place)) await moveFolder(place, trash, beforeRemoval);
    try {
      renameSync(staged, place);
    } catch (error) {
      // What cannot be replaced stays: it must not go with the staging folder.
      if (existsSync(trash)) renameSync(trash, place);
      throw error;
    }
    await syncPath(dirname(place));
  }

  async #swapBack(ref: Ref, old: string): Promise<void> {
    const place = this.layout.generation(ref);
    const dropped = join(this.#staging, randomUUID());
    renameSync(place, dropped);
    renameSync(old, place);
    await syncPath(dirname(place));
    rmSync(this.layout.journal(ref), { force: true });
    await rm(dropped, { recursive: true, force: true });
  }

  /**
   * Finishes the replacements of instances that ended in the middle: forward where the old content
   * was already moved away, back where the new is not there.
   *
   * @returns the generations whose content may be another than the catalog says; `done` is to be
   *   called once it says so: until then a start has to look again
   */
  async recoverReplacements(
    isGone: (instanceId: string) => boolean,
  ): Promise<{ ref: Ref; done(): void }[]> {
    const recovered: { ref: Ref; done(): void }[] = [];
    for (const name of listFolder(this.layout.replacing)) {
      const file = join(this.layout.replacing, name);
      const journal = readJournal(file, this.layout.staging);
      if (journal === null || !isGone(basename(dirname(journal.staged)))) continue;
      if (journal.isCopied === true && existsSync(journal.staged)) {
        await rm(this.layout.generation(journal.ref), { recursive: true, force: true });
      }
      if (!this.has(journal.ref)) {
        if (existsSync(journal.staged)) await this.#swap(journal);
        else if (existsSync(journal.trash)) {
          renameSync(journal.trash, this.layout.generation(journal.ref));
          await syncPath(this.layout.generations(journal.ref.projectId));
        }
      }
      recovered.push({ ref: journal.ref, done: () => rmSync(file, { force: true }) });
    }
    return recovered;
  }

  #stageInput(ref: Ref, source: Source, details: SaveDetails) {
    const { artifacts = null } = details;
    return { ref, ...details, artifacts, source, limits: this.#limits };
  }

  /** Runs work on a staging folder, of which nothing is left where it fails. */
  async #withStaging(
    ref: Ref,
    source: Source,
    work: (folder: string) => Promise<Staged>,
  ): Promise<Staged> {
    const folder = source.kind === 'staged' ? source.folder : join(this.#staging, randomUUID());
    try {
      return await work(folder);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw fromFileSystem(error, `save ${formatRef(ref)}`);
    }
  }

  /** Whether a generation took the place of another: its archive has a key of its own. */
  isReplacement(ref: Ref): boolean {
    return existsSync(inGeneration.replacement(this.layout.generation(ref)));
  }

  /** Makes a generation the active one of its project. Readers of the link see the old or the new. */
  async activate(ref: Ref): Promise<void> {
    const temporary = join(this.#staging, randomUUID());
    try {
      symlinkSync(folderName(ref), temporary);
      renameSync(temporary, this.layout.active(ref.projectId));
      await syncPath(this.layout.generations(ref.projectId));
    } catch (error) {
      throw fromFileSystem(error, `activate ${formatRef(ref)}`);
    }
  }

  /** The active version of a project; `null` where none is. */
  findActive(projectId: string): number | null {
    try {
      const target = readlinkSync(this.layout.active(projectId));
      return parseFolderName(basename(target))?.version ?? null;
    } catch {
      return null;
    }
  }

  /** Tells whether a generation is in place. */
  has(ref: Ref): boolean {
    return existsSync(this.layout.generation(ref));
  }

  /** Makes the tree of a generation last, for which its archive vouched until then. */
  syncTree(ref: Ref): Promise<void> {
    return this.#work.sync(this.layout.generation(ref));
  }

  /** Reads every byte of a generation. Returns what is the matter with it, a sentence each. */
  checkTree(ref: Ref, signal?: AbortSignal): Promise<string[]> {
    return this.#work.check(this.layout.generation(ref), signal);
  }

  /**
   * Makes a tree that a power loss damaged again from its archive.
   *
   * @throws StorageError `corrupt` where the archive cannot help either
   */
  repairTree(ref: Ref): Promise<boolean> {
    return this.#work.repair({
      folder: this.layout.generation(ref),
      scratch: join(this.#staging, randomUUID()),
      limits: this.#limits,
    });
  }

  /**
   * What is on disk of a generation, also of a flat project; `null` where nothing is.
   *
   * @throws StorageError `corrupt`, also where what lies there leads elsewhere
   */
  async find(ref: Ref): Promise<StoredGeneration | null> {
    const path = this.layout.generation(ref);
    const manifest = findManifest(this.layout.placeOf(inGeneration.manifest(path)));
    if (manifest !== null) {
      const sourcePath = inGeneration.source(path);
      // Of ours each file is compared with its hash wherever it is read.
      if (manifest.entries === undefined) await this.#checkItself(sourcePath);
      return { path, sourcePath, manifest };
    }
    return (await this.#describeFlat(ref))?.generation ?? null;
  }

  async #describeFlat(
    ref: Ref,
  ): Promise<{ generation: StoredGeneration; leftOut: LeftOut } | null> {
    const { projectId } = ref;
    if (!mayBeFlat(ref) || !isFlat(this.layout, projectId)) return null;
    const { root } = this.layout.placeOf('');
    const limits = this.#limits;
    const { manifest, leftOut } = await this.#work.describe({ root, projectId, limits });
    const path = this.layout.project(projectId);
    const sourcePath = flatSource(this.layout, projectId);
    return { generation: { path, sourcePath, manifest }, leftOut };
  }

  /** Refuses a folder that is a link, or lies behind one: what it holds is not of this store. */
  async #checkItself(folder: string): Promise<void> {
    const { root, path } = this.layout.placeOf(folder);
    const real = await realpath(folder).catch(() => null);
    if (real === null || real === join(root, path)) return;
    throw new StorageError(
      'corrupt',
      `Cannot read "${folder}": it is a symbolic link, or lies behind one; put the folder itself in its place`,
    );
  }

  /** Opens a file of the store, which the caller closes. @throws NotAFile */
  openFile(file: string): Promise<FileHandle> {
    const { root, path } = this.layout.placeOf(file);
    return openFileInside(root, path);
  }

  /** The manifest of a generation in a folder of its own. @throws StorageError `corrupt` */
  readOwnManifest(ref: Ref): Manifest {
    return readManifest(this.layout.placeOf(inGeneration.manifest(this.layout.generation(ref))));
  }

  /** @throws StorageError `not_found`, `corrupt` */
  async readManifest(ref: Ref): Promise<Manifest> {
    return ((await this.find(ref)) ?? notHere(ref)).manifest;
  }

  /** Which generation lies on disk under a version; `null` where none does. */
  locate(projectId: string, version: number): Ref | null {
    for (const name of listFolder(this.layout.generations(projectId))) {
      const parsed = parseFolderName(name);
      if (parsed?.version === version) return { projectId, ...parsed };
    }
    const flat = flatRef(projectId);
    const mayBe = version === flat.version && !existsSync(this.layout.tombstone(flat));
    return mayBe && isFlat(this.layout, projectId) ? flat : null;
  }

  /** What the archive of a generation is; `null` where that is not written down. */
  readArchiveFacts(ref: Ref): ArchiveFacts | null {
    const text = this.#readText(inGeneration.archiveFacts(this.layout.generation(ref)));
    try {
      return text === null ? null : (JSON.parse(text) as ArchiveFacts);
    } catch {
      // Emptied or zeroed by a power loss; the archive itself was synced.
      return null;
    }
  }

  /** The archive of a generation; `null` where it was retired. */
  async findArchive(ref: Ref): Promise<(ArchiveFacts & { path: string }) | null> {
    const path = inGeneration.archive(this.layout.generation(ref));
    const bytes = statSync(path, { throwIfNoEntry: false })?.size;
    if (bytes === undefined) return null;
    const facts = this.readArchiveFacts(ref) ?? (await hashFile(path));
    return facts.bytes === bytes ? { path, ...facts } : null;
  }

  /** Reads the archive of a generation: whether it is what it was when it was made. */
  async isArchiveSound(ref: Ref): Promise<boolean> {
    const found = await this.findArchive(ref);
    return found !== null && (await hashFile(found.path)).sha256 === found.sha256;
  }

  /**
   * Packs a retired archive again from the tree. The generation is to be held: a replacement that
   * came between would get the archive of what it replaced.
   *
   * @throws StorageError `corrupt` where the tree is not what its manifest says
   */
  async repack(ref: Ref): Promise<ArchiveFacts & { path: string }> {
    const folder = this.layout.generation(ref);
    const scratch = join(this.#staging, randomUUID());
    const facts = await this.#work.repack({ folder, scratch });
    return { path: inGeneration.archive(folder), ...facts };
  }

  /** Removes an archive that is needed no more. What it is stays known. */
  retireArchive(ref: Ref): void {
    if (this.readArchiveFacts(ref) === null) return;
    rmSync(inGeneration.archive(this.layout.generation(ref)), { force: true });
  }

  /** Where blocks are in the archive; `null` for small ones, which are read whole. */
  readBlockIndex(ref: Ref): BlockIndex | null {
    const text = this.#readText(inGeneration.blockIndex(this.layout.generation(ref)));
    try {
      return text === null ? null : (JSON.parse(text) as BlockIndex);
    } catch {
      // Emptied by a power loss: the archive is read whole then.
      return null;
    }
  }

  #readText(path: string): string | null {
    return findText(this.layout.placeOf(path));
  }

  /**
   * When a generation was deleted; `null` where it was not. That its tombstone is there says all,
   * and when it was made its file knows too.
   */
  deletedAt(ref: Ref): string | null {
    const stat = statSync(this.layout.tombstone(ref), { throwIfNoEntry: false });
    return stat?.mtime.toISOString() ?? null;
  }

  /**
   * Deletes a generation: first the tombstone, which is the commit, then the folder. May be
   * repeated, and finishes what an earlier call left.
   *
   * @param digests of the content that is deleted, where they are known
   */
  async delete(ref: Ref, deletedAt: string, digests: readonly string[] = []): Promise<void> {
    await this.#takeAway(ref, { deleted_at: deletedAt, digests });
  }

  /**
   * Marks that a generation has another version now, under which it lies already, and takes it away
   * from where it was. Otherwise as {@link delete}.
   */
  async move(ref: Ref, to: number, at: string): Promise<void> {
    await this.#takeAway(ref, { deleted_at: at, moved_to: to });
  }

  /** Which version a generation has that was moved; `null` where it was not. */
  movedTo(ref: Ref): number | null {
    return this.#readTombstone(ref)?.moved_to ?? null;
  }

  /** Of the content that was deleted under a ref, as far as that is known. */
  deletedDigests(ref: Ref): readonly string[] {
    return this.#readTombstone(ref)?.digests ?? [];
  }

  #readTombstone(ref: Ref): Partial<Tombstone> | null {
    const text = this.#readText(this.layout.tombstone(ref));
    try {
      return text === null ? null : (JSON.parse(text) as Tombstone);
    } catch {
      // Emptied by a power loss: its being there says that it was deleted.
      return null;
    }
  }

  /** Takes a tombstone away: what the cloud has under this name is to be seen here. */
  async dropTombstone(ref: Ref): Promise<void> {
    try {
      if (!existsSync(this.layout.tombstone(ref))) return;
      rmSync(this.layout.tombstone(ref), { force: true });
      await syncPath(this.layout.tombstones(ref.projectId));
    } catch (error) {
      throw fromFileSystem(error, `delete ${formatRef(ref)}`);
    }
  }

  async #takeAway(
    ref: Ref,
    mark: Pick<Tombstone, 'deleted_at' | 'digests' | 'moved_to'>,
  ): Promise<void> {
    const tombstone: Tombstone = {
      project_id: ref.projectId,
      version: ref.version,
      generation_id: ref.generationId,
      ...mark,
    };
    const trash = join(this.#staging, randomUUID());
    try {
      if (!existsSync(this.layout.tombstone(ref))) {
        const project = this.layout.project(ref.projectId);
        await makeFolder(this.layout.tombstones(ref.projectId), project);
        const text = `${JSON.stringify(tombstone, null, 2)}\n`;
        await writeFileDurably(this.layout.tombstone(ref), text, trash);
      }
      if (this.findActive(ref.projectId) === ref.version) {
        rmSync(this.layout.active(ref.projectId), { force: true });
      }
      if (existsSync(this.layout.generation(ref))) {
        await this.#removeFolder(this.layout.generation(ref), trash);
      }
      // What the Python system left of it, also where it was migrated.
      if (mayBeFlat(ref)) await this.#removeFlat(ref.projectId, trash);
      rmSync(this.layout.oldArchive(ref), { force: true });
    } catch (error) {
      throw fromFileSystem(error, `delete ${formatRef(ref)}`);
    }
  }

  /**
   * Gives what the Python system left hashes and an archive: see {@link convertTree}. The files of a
   * flat project are copied into a generation's folder; they stay where they are, too.
   *
   * @returns what was left out of it, by its path in the store
   * @throws StorageError `corrupt`, `invalid_input` that names a path
   */
  async convert(ref: Ref): Promise<LeftOut> {
    const folder = this.layout.generation(ref);
    if (existsSync(folder)) {
      const scratch = join(this.#staging, randomUUID());
      const { root, path } = this.layout.placeOf(folder);
      return this.#work.convert({ root, folder: path, scratch, limits: this.#limits });
    }
    const { generation, leftOut } = (await this.#describeFlat(ref)) ?? notHere(ref);
    const { manifest, sourcePath } = generation;
    const { root, path } = this.layout.placeOf(sourcePath);
    const files = manifest.files.map((file) => ({ path: file }));
    const source = { kind: 'listed', root, folder: path, files } as const;
    const details = { createdAt: manifest.created_at, metadata: {}, ownerId: null };
    await this.commit(ref, source, details);
    return leftOut;
  }

  /**
   * Puts a generation that the Python system archived into a folder, where it had been.
   *
   * @throws StorageError `corrupt`, `invalid_input` that names an entry, `too_large`
   */
  async unpackInto(ref: Ref, archive: string): Promise<void> {
    const folder = join(this.#staging, randomUUID());
    try {
      const limits = this.#limits;
      const { manifest } = await this.#work.unpack({ archive, folder, limits, trusted: false });
      const { project_id, version, generation_id } = manifest;
      const isOf =
        project_id === ref.projectId &&
        version === ref.version &&
        generation_id === ref.generationId;
      if (!isOf) {
        throw new StorageError('corrupt', `Cannot use "${archive}": it holds another generation`);
      }
      await this.#work.sync(folder);
      const place = this.layout.generation(ref);
      await makeFolder(dirname(place), this.layout.project(ref.projectId));
      renameSync(folder, place);
      await syncPath(dirname(place));
    } catch (error) {
      throw fromFileSystem(error, `unpack "${archive}"`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Takes a generation away that nobody was told of. */
  async discard(ref: Ref): Promise<void> {
    if (!this.has(ref)) return;
    const folder = this.layout.generation(ref);
    // First, where it cannot go at once: without its manifest it is no generation.
    await this.#removeFolder(
      folder,
      join(this.#staging, randomUUID()),
      inGeneration.manifest(folder),
    );
  }

  /**
   * Takes a folder away: at once for readers to come, where it can be renamed.
   *
   * @param trash a path that is free, on the same file system
   * @param first what goes first where it cannot
   */
  async #removeFolder(folder: string, trash: string, first?: string): Promise<void> {
    try {
      renameSync(folder, trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      if (first !== undefined) await rm(first, { force: true });
      await rm(folder, { recursive: true, force: true });
    }
    await rm(trash, { recursive: true, force: true });
  }

  async #removeFlat(projectId: string, trash: string): Promise<void> {
    for (const name of [...listFlat(this.layout, projectId)]) {
      await this.#removeFolder(join(this.layout.project(projectId), name), trash);
    }
  }

  /** What is kept of a project, so that it is known even where the catalog is lost. */
  readProject(projectId: string): ProjectFacts {
    const text = this.#readText(this.layout.projectFile(projectId)) ?? '{}';
    try {
      const { owner_id, cloud_version } = JSON.parse(text) as ProjectFile;
      return { ownerId: owner_id ?? null, cloudVersion: cloud_version ?? 0 };
    } catch {
      // Cut short by a power loss: as if nothing had been kept.
      return { ownerId: null, cloudVersion: 0 };
    }
  }

  /** Keeps what is given of a project, beside what is kept of it. */
  async writeProject(projectId: string, given: Partial<ProjectFacts>): Promise<void> {
    const { ownerId, cloudVersion } = { ...this.readProject(projectId), ...given };
    const file: ProjectFile = {
      id: projectId,
      ...(ownerId === null ? {} : { owner_id: ownerId }),
      ...(cloudVersion === 0 ? {} : { cloud_version: cloudVersion }),
    };
    try {
      await makeFolder(this.layout.generations(projectId), this.layout.project(projectId));
      const temporary = join(this.#staging, randomUUID());
      const text = `${JSON.stringify(file, null, 2)}\n`;
      await writeFileDurably(this.layout.projectFile(projectId), text, temporary);
    } catch (error) {
      throw fromFileSystem(error, `note what is known of "${projectId}"`);
    }
  }

  /** The names of all projects on disk, in no order. */
  async listProjects(): Promise<string[]> {
    return (await readdir(this.layout.root)).filter(isId);
  }

  /**
   * What is on disk of a project: generations in place, where it is flat that one, and tombstones.
   *
   * @throws StorageError where it cannot be read
   */
  listProject(projectId: string): OnDisk[] {
    try {
      const deleted = this.#listRefs(projectId, this.layout.tombstones(projectId));
      const found = this.#listRefs(projectId, this.layout.generations(projectId));
      const flat = flatRef(projectId);
      const versionIsTaken = found.some(({ version }) => version === flat.version);
      if (!versionIsTaken && isFlat(this.layout, projectId)) found.push(flat);
      const gone = new Set(deleted.map(folderName));
      const inPlace = found.filter((ref) => !gone.has(folderName(ref)));
      return [
        ...inPlace.map((ref) => ({ ref, deletedAt: null, movedTo: null })),
        ...deleted.map((ref) => ({
          ref,
          deletedAt: this.deletedAt(ref),
          movedTo: this.movedTo(ref),
        })),
      ];
    } catch (error) {
      throw fromFileSystem(error, `read "${this.layout.project(projectId)}"`);
    }
  }

  #listRefs(projectId: string, folder: string): Ref[] {
    return listFolder(folder).flatMap((name) => {
      const parsed = parseFolderName(name.replace(/\.json$/, ''));
      return parsed === null ? [] : [{ projectId, ...parsed }];
    });
  }

  /** Removes what instances that are gone left in staging. */
  async sweepStaging(isGone: (instanceId: string) => boolean): Promise<void> {
    for (const instanceId of listFolder(this.layout.staging)) {
      if (!isGone(instanceId)) continue;
      await rm(join(this.layout.staging, instanceId), { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    await rm(this.#staging, { recursive: true, force: true });
  }
}

function notHere(ref: Ref): never {
  throw new StorageError('not_found', `Cannot find ${formatRef(ref)} in the store`);
}

/** With absolute paths; `null` where another process removed it just now. */
function readJournal(file: string, staging: string): Journal | null {
  const text = readOrNull(file);
  if (text === null) return null;
  const journal = JSON.parse(text) as Journal;
  const { staged, trash } = journal;
  return { ...journal, staged: resolve(staging, staged), trash: resolve(staging, trash) };
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
