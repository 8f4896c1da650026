import { readTar } from '../archive/read-tar.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { refOf } from '../catalog/generation-row.ts';
import { type Limits, type Ref, StorageError, type TarEntry } from '../contract.ts';
import { checkWritable } from '../disk/check-writable.ts';
import type { Reserve } from '../disk/reserve.ts';
import type { Tell } from '../events/events.ts';
import { Draft } from '../store/draft.ts';
import type { LinkPolicy } from '../store/source.ts';
import type { Store } from '../store/store.ts';
import { UnderWay } from '../threads/under-way.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';
import { treeOf } from '../upkeep/tree-of.ts';
import { writeEntries } from './archive-input.ts';
import { JsonParser } from './json-parser.ts';
import { type Receipt, receiptOf } from './receipt.ts';
import {
  parseDetails,
  parseLinks,
  parseSave,
  parseSaveFolder,
  type SaveDetails,
  type SaveFolderInput,
  type SaveInput,
  type SaveRequest,
  type SaveTarInput,
  type SaveZipInput,
} from './request.ts';
import type { Saver } from './save.ts';
import { GenerationWriter } from './writer.ts';
import { readSpooledZip } from './zip-input.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  scan: Scan;
  saver: Saver;
  limits: Limits;
  locks: Locks;
  reserve: Reserve;
  /** Why nothing can be written to the store; `null` where it can. */
  unwritable: StorageError | null;
  now: () => number;
  isCloudOn: boolean;
  /** Absolute paths of what is never part of a generation, although a folder may hold it. */
  ownPaths: () => readonly string[];
  onEvent: Tell;
  /** Never throws. */
  onProblem: (error: unknown) => void;
  /** Told that there is work in the background. */
  wake: () => void;
}>;

/** The ways in for what is to be saved: each makes a request of it, which {@link Saver} saves. */
export class Saves {
  readonly #parts: Parts;
  readonly #json: JsonParser;
  readonly #underWay = new UnderWay();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#json = new JsonParser(parts.limits);
  }

  /** Files in memory. */
  files(input: SaveInput): Promise<Receipt> {
    return this.#save(() => parseSave(input));
  }

  /** The JSON of the HTTP API. @param body its bytes, in memory that threads share */
  json(body: Uint8Array<SharedArrayBuffer>, requestId: string): Promise<Receipt> {
    return this.#save(async () => {
      const { details, files } = await this.#json.parse(body);
      return { ...parseDetails({ ...details, requestId }), source: { kind: 'files', files } };
    });
  }

  /** The files of a folder. */
  folder(input: SaveFolderInput): Promise<Receipt> {
    return this.#save(() => parseSaveFolder(input, [...this.#parts.ownPaths()]));
  }

  /** Files that come one after another. */
  writer(details: SaveDetails): GenerationWriter {
    const { store, limits } = this.#parts;
    const request = parseDetails(details);
    this.#checkPlace();
    return new GenerationWriter({
      draft: new Draft(store.staging.path()),
      limits,
      commit: (source) => this.#save(() => ({ ...request, source })),
      drop: (folder) => store.staging.drop(folder),
    });
  }

  /** What was saved before, and is saved once more. */
  again(make: () => Promise<SaveRequest>): Promise<Receipt> {
    return this.#save(make);
  }

  /** A tar, gzipped or not, as it streams in. */
  tar(input: SaveTarInput): Promise<Receipt> {
    return this.#archive(input, () => readTar(input.tar));
  }

  /** A zip. What is in it stands at its end: it is kept until it is whole. */
  async zip(input: SaveZipInput): Promise<Receipt> {
    this.#checkPlace();
    const spool = this.#parts.store.staging.spool();
    try {
      return await this.#archive(input, () => readSpooledZip(input.zip, spool, this.#parts.limits));
    } finally {
      spool.close();
    }
  }

  async #archive(
    input: SaveDetails & { links?: LinkPolicy },
    read: () => AsyncIterable<TarEntry>,
  ): Promise<Receipt> {
    const links = parseLinks(input.links);
    const writer = this.writer(input);
    try {
      await writeEntries(read(), writer, links);
      return await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  /** Takes no more, and waits for what is under way. */
  async close(): Promise<void> {
    this.#underWay.close();
    await this.#underWay.settled();
    await this.#json.close();
  }

  /** What is saved into a store that somebody removed would be lost; what is kept for a full disk is for others. */
  #checkPlace(): void {
    checkWritable(this.#parts.unwritable, 'save');
    if (!this.#parts.catalog.isInPlace) {
      throw new StorageError(
        'unavailable',
        `Cannot save: the store "${this.#parts.store.layout.root}" was removed or moved while the agent ran. Put it back, and start the agent again`,
      );
    }
    if (this.#parts.reserve.isNeeded()) {
      throw new StorageError('disk_full', 'Cannot save: the disk is full');
    }
  }

  async #save(parse: () => SaveRequest | Promise<SaveRequest>): Promise<Receipt> {
    try {
      return await this.#underWay.run('save', () => {
        this.#checkPlace();
        return this.#run(parse);
      });
    } finally {
      this.#parts.wake();
    }
  }

  /** It is saved: that it could not be laid out is told, and is no error of the save. */
  async #layOut(ref: Ref, digest: string): Promise<void> {
    try {
      await treeOf(this.#parts, ref, digest);
    } catch (error) {
      this.#parts.onProblem(error);
    }
  }

  async #run(parse: () => SaveRequest | Promise<SaveRequest>): Promise<Receipt> {
    const { store, scan, saver, isCloudOn, onEvent } = this.#parts;
    const began = performance.now();
    const request = await parse();
    await scan.project(request.projectId);
    const saved = await saver.save(request, began);
    if (request.layOut) await this.#layOut(refOf(saved.row), saved.row.digest!);
    const receipt = receiptOf(saved, store.layout, isCloudOn);
    if (!saved.isNew) {
      const { fileCount: files, bytes } = receipt;
      const ms = performance.now() - began;
      onEvent({ kind: 'generation.unchanged', ...refOf(saved.row), files, bytes, ms });
    }
    return receipt;
  }
}
