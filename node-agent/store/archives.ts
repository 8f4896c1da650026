import { statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { BlockIndex } from '../archive/pack.ts';
import type { Manifest, Ref } from '../contract.ts';
import { formatArchiveFacts, readArchiveFacts, type WrittenFacts } from './archive-facts.ts';
import { describeArchive } from './describe-archive.ts';
import { writeFileDurably } from './durable.ts';
import { type ArchiveFacts, hashFile } from './hash.ts';
import type { Installed } from './install-archive.ts';
import { manifestIn } from './lay-out.ts';
import { inGeneration, listTars } from './layout.ts';
import type { ViewParts } from './work.ts';

/** The archives of generations: `archive.tar.gz`, and what is known of it. */
export class Archives {
  readonly #parts: ViewParts;

  constructor(parts: ViewParts) {
    this.#parts = parts;
  }

  /** What the archive of a generation is; `null` where that is not written down. */
  readFacts(ref: Ref): WrittenFacts | null {
    const path = inGeneration.archiveFacts(this.#parts.layout.generation(ref));
    return readArchiveFacts(this.#parts.layout.placeOf(path));
  }

  /** Whether nothing is left of what a save laid down to make the archive of. */
  isSettled(ref: Ref): boolean {
    return listTars(this.#parts.layout.generation(ref)).length === 0;
  }

  /**
   * What the archive of a generation says of it, settled or not; `null` where there is no archive.
   *
   * @throws StorageError `corrupt` where it is no archive of ours
   */
  findManifest(ref: Ref): Manifest | null {
    const { layout } = this.#parts;
    return manifestIn(layout.generation(ref), (path) => layout.placeOf(path));
  }

  /** The archive of a generation; `null` where it is not settled yet, or there is none. */
  async find(ref: Ref): Promise<(ArchiveFacts & { path: string }) | null> {
    if (!this.isSettled(ref)) return null;
    const path = inGeneration.archive(this.#parts.layout.generation(ref));
    const bytes = statSync(path, { throwIfNoEntry: false })?.size;
    if (bytes === undefined) return null;
    const facts = this.readFacts(ref) ?? (await hashFile(path));
    return facts.bytes === bytes ? { path, ...facts } : null;
  }

  /** Reads the archive of a generation: whether it is what it was when it was made. */
  async isSound(ref: Ref): Promise<boolean> {
    const found = await this.find(ref);
    return found !== null && (await hashFile(found.path)).sha256 === found.sha256;
  }

  /**
   * Writes down anew what an archive is and where its blocks are, found out from its bytes, each file
   * compared. The generation is to be locked.
   *
   * @param digest what it has to hold
   * @throws StorageError `corrupt` where it is no whole archive of ours, or of other content
   */
  async describe(ref: Ref, digest: string): Promise<ArchiveFacts & { path: string }> {
    const { layout, staging } = this.#parts;
    const path = inGeneration.archive(layout.generation(ref));
    const place = layout.placeOf(path);
    const { limits } = this.#parts;
    const { facts } = await describeArchive(path, place, { digest, limits });
    const written = inGeneration.archiveFacts(layout.generation(ref));
    await writeFileDurably(written, formatArchiveFacts(facts), staging.pathToPlace());
    const { bytes, sha256, md5 } = facts;
    return { path, bytes, sha256, md5 };
  }

  /**
   * Puts an archive that came from elsewhere in the place of a generation that is not here. When this
   * returns it survives a power loss. The generation is to be locked.
   *
   * @param folder in staging, that holds the archive and nothing else; it is taken
   * @param digest what it has to hold; `null`: whatever it holds
   * @throws StorageError `corrupt`, `invalid_input`, `too_large`; `conflict` where the folder is there already
   */
  install(ref: Ref, folder: string, digest: string | null): Promise<Installed> {
    const { layout, limits, work } = this.#parts;
    const place = layout.generation(ref);
    return work.install({
      ...{ ref, folder, digest, limits, place, outermost: layout.project(ref.projectId) },
    });
  }

  /**
   * Makes the archive of what a save laid down. The generation is to be locked.
   *
   * @returns `null` where there is nothing to make it of: it is made
   * @throws StorageError `corrupt` where what was laid down is not what it was
   */
  async settle(ref: Ref): Promise<(ArchiveFacts & { path: string }) | null> {
    const folder = this.#parts.layout.generation(ref);
    if (this.isSettled(ref)) return null;
    const scratch = this.#parts.staging.pathToPlace();
    const facts = await this.#parts.work.settle({ folder, scratch });
    return facts === null ? null : { path: inGeneration.archive(folder), ...facts };
  }

  /**
   * Packs an archive that is damaged again from the tree, where that is there. The generation is to be
   * locked: a replacement that came between would get the archive of what it replaced.
   *
   * @throws StorageError `corrupt` where the tree is not what its manifest says
   */
  async repack(ref: Ref): Promise<ArchiveFacts & { path: string }> {
    const folder = this.#parts.layout.generation(ref);
    const scratch = this.#parts.staging.pathToPlace();
    const facts = await this.#parts.work.repack({ folder, scratch });
    return { path: inGeneration.archive(folder), ...facts };
  }

  /** Where blocks are in the archive; `null` for small ones, which are read whole, and where nobody knows. */
  readBlockIndex(ref: Ref): BlockIndex | null {
    return this.readFacts(ref)?.blockIndex ?? null;
  }

  /**
   * The digest of what is in an archive, made from its files.
   *
   * @throws StorageError `corrupt` where it is no archive of ours
   */
  async digest(archive: string): Promise<string> {
    const folder = this.#parts.staging.path();
    try {
      const limits = this.#parts.limits;
      return (await this.#parts.work.unpack({ archive, folder, limits, trusted: false })).digest;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
