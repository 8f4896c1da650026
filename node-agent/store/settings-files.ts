import { type BigIntStats, readdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { makeFolder, syncPath, writeFileDurably } from './durable.ts';
import type { Layout } from './layout.ts';
import { readText } from './read-text.ts';
import type { Staging } from './staging.ts';

/** A folder that changed so lately may change again without another time of change, in milliseconds. */
const SAME_TIME_MS = 100;

/** What is kept, and how. */
export type SettingsKind<T> = Readonly<{
  /** What one is, as in "Cannot find webhook". */
  noun: string;
  folder: string;
  schema: v.GenericSchema<unknown, T>;
  /** What its file is called by. */
  nameOf: (one: T) => string;
  /** In which order they are listed. */
  compare: (a: T, b: T) => number;
  /** So many there may be. */
  most: number;
}>;

/**
 * What an operator has told a host to do: a file each, for the catalog can be lost. Any process that has the store
 * open looks here.
 */
export class SettingsFiles<T> {
  readonly #layout: Layout;
  readonly #staging: Staging;
  readonly #kind: SettingsKind<T>;
  #known: readonly T[] = [];
  /** The time of change of the folder at which that was all. */
  #knownAt: bigint | null = null;

  constructor(layout: Layout, staging: Staging, kind: SettingsKind<T>) {
    this.#layout = layout;
    this.#staging = staging;
    this.#kind = kind;
  }

  /** All that can be read, in their order. Never throws. */
  list(): readonly T[] {
    const folder = this.#stat();
    if (folder === null) return [];
    if (folder.mtimeNs === this.#knownAt) return this.#known;
    const isSettled = Date.now() - Number(folder.mtimeMs) > SAME_TIME_MS;
    const { compare } = this.#kind;
    this.#known = this.#names()
      .flatMap((name) => this.#read(name) ?? [])
      .toSorted(compare);
    this.#knownAt = isSettled ? folder.mtimeNs : null;
    return this.#known;
  }

  /** `null` where it is not there, or cannot be looked at: no save fails for that. */
  #stat(): BigIntStats | null {
    try {
      return statSync(this.#kind.folder, { bigint: true, throwIfNoEntry: false }) ?? null;
    } catch {
      return null;
    }
  }

  /** Files that hold none: cut short, or put there by somebody. */
  unreadable(): string[] {
    return this.#names().flatMap((name) =>
      this.#read(name) === null ? [join(this.#kind.folder, name)] : [],
    );
  }

  /** @throws StorageError `not_found` */
  find(name: string): T {
    const { noun, nameOf } = this.#kind;
    const found = this.list().find((one) => nameOf(one) === name);
    if (found !== undefined) return found;
    const there = this.list().map(nameOf);
    const known = there.length === 0 ? 'there is none' : `there are ${there.join(', ')}`;
    throw new StorageError('not_found', `Cannot find ${noun} ${JSON.stringify(name)}: ${known}`);
  }

  /**
   * Adds one, or puts it in the place of what had its name.
   *
   * @throws StorageError `too_large` where there are too many, `disk_full` and what else keeps it from lasting
   */
  async put(one: T): Promise<void> {
    const { noun, folder, nameOf, most } = this.#kind;
    const others = this.list().filter((other) => nameOf(other) !== nameOf(one));
    if (others.length >= most) {
      const state = `there are ${others.length}, which is the limit. Remove one`;
      throw new StorageError('too_large', `Cannot add a ${noun}: ${state}`);
    }
    try {
      await makeFolder(folder, this.#layout.own);
      const text = `${JSON.stringify(one, null, 2)}\n`;
      await writeFileDurably(this.#pathOf(nameOf(one)), text, this.#staging.pathToPlace());
    } catch (error) {
      throw fromFileSystem(error, `keep the ${noun}`);
    }
    this.#knownAt = null;
  }

  /** @throws StorageError `not_found` */
  async remove(name: string): Promise<void> {
    const { noun, folder, nameOf } = this.#kind;
    const known = nameOf(this.find(name));
    try {
      await rm(this.#pathOf(known), { force: true });
      await syncPath(folder);
    } catch (error) {
      throw fromFileSystem(error, `remove the ${noun}`);
    }
    this.#knownAt = null;
  }

  #pathOf(name: string): string {
    return join(this.#kind.folder, `${name}.json`);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#kind.folder).slice(0, this.#kind.most);
    } catch {
      return [];
    }
  }

  #read(file: string): T | null {
    const { folder, schema, nameOf } = this.#kind;
    try {
      const text = readText(this.#layout, join(folder, file));
      const parsed = v.safeParse(schema, JSON.parse(text ?? ''));
      return parsed.success && file === `${nameOf(parsed.output)}.json` ? parsed.output : null;
    } catch {
      return null;
    }
  }
}
