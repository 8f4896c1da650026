import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import {
  checkPaths,
  comparePaths,
  DEFAULT_MODE,
  type Limits,
  type ManifestEntry,
  StorageError,
} from '../contract.ts';
import { NotAFile } from '../disk/open-inside.ts';
import { keptMode } from '../disk/private.ts';
import { ChangedWhileRead, type Place, readPieces } from '../disk/read-file.ts';
import { findInFolder } from './folder.ts';
import { type LeftOut, NOTHING_LEFT_OUT } from './left-out.ts';
import type { DraftSource, FileOnDisk, ReadSource, SourceFile } from './source.ts';

/** The checked and hashed files of a source. */
export type Inventory = Readonly<{
  /** Sorted by path. */
  entries: ManifestEntry[];
  totalBytes: number;
  leftOut: LeftOut;
  /** Gives the content of an entry; throws where it is no longer what was hashed. */
  read(path: string): Iterable<Uint8Array>;
}>;

export const NOTHING: Inventory = {
  entries: [],
  totalBytes: 0,
  leftOut: NOTHING_LEFT_OUT,
  read: () => [],
};

/** Takes the files of a source as they are read and hashed, one after another. */
export type Copy = Readonly<{
  /** What is expected may turn out to be another. */
  begin(path: string, expected: Readonly<{ size: number; mode: number }>): void;
  /** The bytes are good until it returns. */
  write(bytes: Uint8Array): void;
  end(mode: number): void;
}>;

/**
 * Reads a source once: every name checked, every file hashed.
 *
 * @param options.copy what takes the files too; left out: nothing does
 * @throws StorageError `invalid_input` that names the path, `too_large`, `conflict` for a file that
 *   changed meanwhile
 */
export function takeInventory(
  source: ReadSource,
  limits: Limits,
  { mayBeEmpty = false, copy }: { mayBeEmpty?: boolean; copy?: Copy } = {},
): Inventory {
  const { files, leftOut } = findFiles(source, limits);
  if (!mayBeEmpty) checkSome(source, files, leftOut);
  checkPaths(
    files.map((file) => file.path),
    limits,
  );
  files.sort((a, b) => comparePaths(a.path, b.path));

  let totalBytes = 0;
  const entries = files.map((file) => {
    const hash = createHash('sha256');
    let size = 0;
    let mode = file.mode;
    const length = 'content' in file ? file.content.length : 0;
    copy?.begin(file.path, { size: length, mode: keptMode(mode ?? DEFAULT_MODE) });
    const look = (stat: Stats) => {
      mode ??= stat.mode;
      checkSizes(file.path, stat.size, totalBytes + stat.size, limits);
    };
    for (const piece of 'content' in file ? [file.content] : readKnown(source, file, look)) {
      size += piece.length;
      totalBytes += piece.length;
      checkSizes(file.path, size, totalBytes, limits);
      hash.update(piece);
      copy?.write(piece);
    }
    const permissions = keptMode(mode ?? DEFAULT_MODE);
    copy?.end(permissions);
    return { path: file.path, size, sha256: hash.digest('hex'), mode: permissions };
  });

  const found = new Map(files.map((file) => [file.path, file]));
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  return {
    entries,
    totalBytes,
    leftOut,
    read: (path) => {
      const file = found.get(path)!;
      return 'content' in file ? [file.content] : readAgain(source, file, byPath.get(path)!);
    },
  };
}

/** The same of a draft, whose files were checked and hashed as they came. @throws StorageError */
export function inventoryOfDraft(source: DraftSource): Omit<Inventory, 'read'> {
  const { leftOut } = source;
  checkSome(source, source.entries, leftOut);
  const entries = source.entries.toSorted((a, b) => comparePaths(a.path, b.path));
  return { entries, totalBytes: entries.reduce((sum, { size }) => sum + size, 0), leftOut };
}

function checkSome(
  source: ReadSource | DraftSource,
  files: readonly unknown[],
  leftOut: LeftOut,
): void {
  if (files.length > 0) return;
  const where = source.kind === 'folder' ? `the folder "${source.folder}"` : 'it';
  const rest = leftOut.count === 0 ? '' : `; ${leftOut.count} were left out`;
  throw new StorageError(
    'invalid_input',
    `Cannot save a generation: ${where} holds no files${rest}`,
  );
}

function findFiles(
  source: ReadSource,
  limits: Limits,
): { files: (SourceFile | FileOnDisk)[]; leftOut: LeftOut } {
  switch (source.kind) {
    case 'files':
      return { files: [...source.files], leftOut: NOTHING_LEFT_OUT };
    case 'listed': {
      const { root, folder } = source;
      const files = source.files.map(({ path, ...rest }) => {
        // Checked before it leads anywhere.
        checkPaths([path], limits);
        return { path, ...rest, place: { root, path: `${folder}/${path}` } };
      });
      return { files, leftOut: NOTHING_LEFT_OUT };
    }
    case 'folder':
      return findInFolder(source, limits);
  }
}

function checkSizes(path: string, size: number, total: number, limits: Limits): void {
  if (size > limits.fileBytes) {
    throw new StorageError(
      'too_large',
      `Cannot take "${path}": a file has at most ${limits.fileBytes} bytes`,
    );
  }
  if (total > limits.totalBytes) {
    throw new StorageError(
      'too_large',
      `Cannot take "${path}": a generation has at most ${limits.totalBytes} bytes`,
    );
  }
}

/** Reads a file whose name is known, and says in the words of its source what is wrong with it. */
function* readKnown(
  source: ReadSource,
  file: FileOnDisk,
  look: (stat: Stats) => void,
): Generator<Uint8Array, void> {
  try {
    yield* readPieces(file.place, look);
  } catch (error) {
    throw explain(source, file.path, error);
  }
}

function explain(source: ReadSource, path: string, error: unknown): unknown {
  if (error instanceof ChangedWhileRead) return changed(path);
  if (!(error instanceof NotAFile)) return error;
  const { problem } = error;
  // It was a file when the folder was listed.
  if (source.kind !== 'listed') return changed(path, `: it is ${problem} now`);
  return problem === 'missing'
    ? new StorageError('corrupt', `Cannot use "${source.folder}": "${path}" is missing`)
    : new StorageError(
        'invalid_input',
        `Cannot use path ${JSON.stringify(path)}: it is ${problem}, or lies behind one`,
      );
}

function changed(path: string, more = ''): StorageError {
  return new StorageError(
    'conflict',
    `Cannot save ${JSON.stringify(path)}: it changed while it was read${more}. Save again once nothing writes there`,
  );
}

function* readAgain(
  source: ReadSource,
  file: FileOnDisk,
  entry: ManifestEntry,
): Generator<Uint8Array, void> {
  try {
    yield* readChecked(file.place, entry);
  } catch (error) {
    throw explain(source, file.path, error);
  }
}

/**
 * Reads a file in pieces, each good until the next; throws at its end where it is not what was hashed.
 *
 * @throws NotAFile, ChangedWhileRead
 */
export function* readChecked(place: Place, entry: ManifestEntry): Generator<Uint8Array, void> {
  const hash = createHash('sha256');
  for (const piece of readPieces(place)) {
    hash.update(piece);
    yield piece;
  }
  if (hash.digest('hex') !== entry.sha256) throw new ChangedWhileRead(place.path);
}
