import { closeSync, constants, fstatSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { folderName, formatRef, isId, isVersion, type Ref } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { openInside } from '../disk/open-inside.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import { ifThere } from '../disk/read-manifest.ts';
import { makeFolder, syncPath } from './durable.ts';
import type { Layout } from './layout.ts';

/** The mark that something was deleted, or has another version now. */
export type Tombstone = Readonly<{
  version: number;
  generation_id: string;
  deleted_at: string;
  /** Of the content that was deleted: what another host saved under the name is not. */
  digests?: readonly string[];
  /** From when on what it held may go; left out: it goes at once. */
  purge_at?: string;
  /** The version that it has now. */
  moved_to?: number;
  /** The cloud said so: it is not told of it. */
  followed?: true;
}>;

/** What a tombstone says beside whose it is. */
export type Mark = Omit<Tombstone, 'version' | 'generation_id'>;

/** Takes the mark before it back. */
type Undeletion = Readonly<{ version: number; generation_id: string; undeleted_at: string }>;

/** What is known of the file of a project, and how far it was read. */
type Known = {
  id: string;
  size: number;
  readTo: number;
  marks: Map<string, Tombstone>;
  /** When those that have none any more were undone. */
  undone: Map<string, string>;
};

/** Of so many projects at most the marks are kept in memory. */
const MAX_KNOWN = 200;

const TO_APPEND =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;

/**
 * The marks of what was deleted, or has another version now: one file a project, which only grows. A
 * line is a mark, the last one of a generation counts. Each is written with the end of the line before it,
 * so that one which a crash cut short spoils no other, and is none itself.
 */
export class Tombstones {
  readonly #layout: Layout;
  readonly #known = new Map<string, Known>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** The mark of a generation; `null` where it was not deleted. */
  find(ref: Ref): Tombstone | null {
    return this.#read(ref.projectId)?.marks.get(folderName(ref)) ?? null;
  }

  /** When a deletion of a generation was undone; `null` where none was, or it is deleted. */
  undeletedAt(ref: Ref): string | null {
    return this.#read(ref.projectId)?.undone.get(folderName(ref)) ?? null;
  }

  /** When a generation was deleted; `null` where it was not. */
  deletedAt(ref: Ref): string | null {
    return this.find(ref)?.deleted_at ?? null;
  }

  /** Which version a generation has that was moved; `null` where it was not. */
  movedTo(ref: Ref): number | null {
    return this.find(ref)?.moved_to ?? null;
  }

  /** Of the content that was deleted under a ref, as far as that is known. */
  digestsOf(ref: Ref): readonly string[] {
    return this.find(ref)?.digests ?? [];
  }

  /** Whether the cloud said so: then it is not told of it. */
  isFollowed(ref: Ref): boolean {
    return this.find(ref)?.followed === true;
  }

  /** All of a project. */
  list(projectId: string): Tombstone[] {
    return [...(this.#read(projectId)?.marks.values() ?? [])];
  }

  /** Puts a tombstone up for good, where there is none: from then on the generation is deleted. */
  async put(ref: Ref, mark: Mark): Promise<void> {
    if (this.find(ref) !== null) return;
    const { version, generationId: generation_id } = ref;
    await this.#append(ref, { version, generation_id, ...mark } satisfies Tombstone);
  }

  /** Takes a tombstone away for good: what the cloud has under this name is to be seen here. */
  async drop(ref: Ref, at: string): Promise<void> {
    if (this.find(ref) === null) return;
    const { version, generationId: generation_id } = ref;
    try {
      await this.#append(ref, { version, generation_id, undeleted_at: at } satisfies Undeletion);
    } catch (error) {
      throw fromFileSystem(error, `note that ${formatRef(ref)} is not deleted`);
    }
  }

  async #append({ projectId }: Ref, mark: Tombstone | Undeletion): Promise<void> {
    const folder = this.#layout.generations(projectId);
    await makeFolder(folder, this.#layout.project(projectId));
    const file = await open(this.#layout.tombstones(projectId), TO_APPEND, PRIVATE_FILE);
    let isNew: boolean;
    try {
      isNew = (await file.stat()).size === 0;
      await file.appendFile(`\n${JSON.stringify(mark)}`);
      await file.sync();
    } finally {
      await file.close();
    }
    if (isNew) await syncPath(folder);
  }

  /** By the names of their folders; `null` where there is no file. Of one that grew, what is new is read. */
  #read(projectId: string): Readonly<Pick<Known, 'marks' | 'undone'>> | null {
    const place = this.#layout.placeOf(this.#layout.tombstones(projectId));
    const fd = ifThere(place, () => openInside(place.root, place.path));
    if (fd === null) return null;
    try {
      const { ino, birthtimeNs, size } = fstatSync(fd, { bigint: true });
      // Numbers of files are given again.
      const id = `${ino}-${birthtimeNs}`;
      let known = this.#known.get(projectId);
      if (known?.id !== id || BigInt(known.size) > size) {
        known = { id, size: 0, readTo: 0, marks: new Map(), undone: new Map() };
      }
      if (BigInt(known.size) < size) readMarks(fd, Number(size), known);
      // Those that were asked for last are at the end.
      this.#known.delete(projectId);
      this.#known.set(projectId, known);
      for (const oldest of this.#known.keys()) {
        if (this.#known.size <= MAX_KNOWN) break;
        this.#known.delete(oldest);
      }
      return known;
    } finally {
      closeSync(fd);
    }
  }
}

/** Reads on from the last line, which may not have been whole. */
function readMarks(fd: number, size: number, known: Known): void {
  const bytes = Buffer.allocUnsafe(size - known.readTo);
  const length = readSync(fd, bytes, 0, bytes.length, known.readTo);
  const text = bytes.subarray(0, length);
  for (const line of text.toString().split('\n')) {
    const mark = parse(line);
    if (mark === null) continue;
    const { version, generation_id: generationId } = mark;
    const name = folderName({ version, generationId });
    if ('deleted_at' in mark) {
      known.marks.set(name, mark);
      known.undone.delete(name);
    } else {
      known.marks.delete(name);
      known.undone.set(name, mark.undeleted_at);
    }
  }
  known.readTo += Math.max(0, text.lastIndexOf(0x0a));
  known.size = size;
}

/** `null` for what a crash left of one. */
function parse(line: string): Tombstone | Undeletion | null {
  if (line === '') return null;
  try {
    const mark = JSON.parse(line);
    return isVersion(mark?.version) && isId(mark.generation_id) ? mark : null;
  } catch {
    return null;
  }
}
