import { createHash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  checkPaths,
  comparePaths,
  DEFAULT_MODE,
  type Limits,
  type ManifestEntry,
  StorageError,
} from '../contract.ts';
import { inGeneration } from './layout.ts';

/** A file that a caller hands over. */
export type SourceFile = Readonly<{ path: string; content: Uint8Array; mode: number }>;

/** Where the files of a save come from. It crosses to a worker thread. */
export type Source =
  | Readonly<{ kind: 'files'; files: readonly SourceFile[] }>
  | ListedSource
  /** A staging folder of ours whose `source/` is written already: it is finished in place. */
  | Readonly<{ kind: 'staged'; folder: string }>
  | Readonly<{
      kind: 'folder';
      /** Absolute. */
      folder: string;
      /** Names that are passed over at every level. */
      skipNames: readonly string[];
      /** Absolute paths that are passed over: the store itself is never part of a save. */
      skipPaths: readonly string[];
    }>;

/** Files of a folder by their paths, without those beside them; `null`: all of it. */
export type ListedSource = Readonly<{
  kind: 'listed';
  folder: string;
  paths: readonly string[] | null;
  /** Of each path; left out: those that the files have. */
  modes?: readonly number[];
}>;

/** Contents up to this size in all are kept from the first reading to the last. */
const KEEP_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 256 * 1024;

/** The checked and hashed files of a source. */
export type Inventory = Readonly<{
  /** Sorted by path. */
  entries: ManifestEntry[];
  totalBytes: number;
  /** Gives the content of an entry; throws where it is no longer what was hashed. */
  read(path: string): Iterable<Uint8Array>;
}>;

export const NOTHING: Inventory = { entries: [], totalBytes: 0, read: () => [] };

/**
 * Reads a source once: every name checked, every file hashed. Nothing is written.
 *
 * @throws StorageError `invalid_input` that names the path, `too_large`
 */
export function takeInventory(source: Source, limits: Limits): Inventory {
  const files = findFiles(source);
  if (files.length === 0) {
    const where = source.kind === 'folder' ? `the folder "${source.folder}"` : 'it';
    throw new StorageError('invalid_input', `Cannot save a generation: ${where} holds no files`);
  }
  checkPaths(
    files.map((file) => file.path),
    limits,
  );
  files.sort((a, b) => comparePaths(a.path, b.path));

  const kept = new Map<string, Uint8Array[]>();
  let totalBytes = 0;
  const entries = files.map((file) => {
    const pieces: Uint8Array[] = [];
    const hash = createHash('sha256');
    let size = 0;
    for (const piece of 'content' in file ? [file.content] : readPieces(file.file)) {
      size += piece.length;
      totalBytes += piece.length;
      checkSizes(file.path, size, totalBytes, limits);
      hash.update(piece);
      if ('content' in file) pieces.push(piece);
      // A piece of a file on disk is good until the next one is read.
      else if (totalBytes <= KEEP_BYTES) pieces.push(Buffer.from(piece));
    }
    if (totalBytes <= KEEP_BYTES || 'content' in file) kept.set(file.path, pieces);
    return { path: file.path, size, sha256: hash.digest('hex'), mode: file.mode };
  });

  const onDisk = new Map(files.map((file) => [file.path, 'file' in file ? file.file : '']));
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  return {
    entries,
    totalBytes,
    read: (path) => kept.get(path) ?? readChecked(onDisk.get(path)!, byPath.get(path)!),
  };
}

function findFiles(source: Source): (SourceFile | FileOnDisk)[] {
  const all = { skipNames: [], skipPaths: [] };
  switch (source.kind) {
    case 'files':
      return source.files.map((file) => ({ ...file, mode: keptMode(file.mode) }));
    case 'staged':
      return walk({ folder: inGeneration.source(source.folder), ...all });
    case 'listed':
      if (source.paths === null) return walk({ folder: source.folder, ...all });
      return source.paths.map((path, i) => findFile(source.folder, path, source.modes?.[i]));
    case 'folder':
      return walk(source);
  }
}

/** A path is checked before it leads anywhere; a link is no file. */
function findFile(folder: string, path: string, mode?: number): FileOnDisk {
  checkPaths([path]);
  const file = join(folder, path);
  const stat = lstatSync(file);
  if (stat.isFile()) return { path, file, mode: keptMode(mode ?? stat.mode) };
  throw new StorageError('invalid_input', `Cannot use path ${JSON.stringify(path)}: it is no file`);
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

type FileOnDisk = { path: string; file: string; mode: number };

/** Lists the files of a folder. Links and devices are refused: what they name is not ours. */
function walk(source: Omit<Extract<Source, { kind: 'folder' }>, 'kind'>): FileOnDisk[] {
  const skipNames = new Set(source.skipNames);
  // By their real paths: the folder, or what is to be passed over, may be reached through a link.
  const skipPaths = new Set(source.skipPaths.map(realPath));
  const found: FileOnDisk[] = [];
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const visit = (folder: string, prefix: string) => {
    for (const entry of readdirSync(folder, { withFileTypes: true, encoding: 'buffer' })) {
      const name = decodeName(decoder, entry.name, prefix);
      const file = join(folder, name);
      if (skipNames.has(name) || skipPaths.has(file)) continue;
      const path = prefix + name;
      if (entry.isDirectory()) visit(file, `${path}/`);
      else if (entry.isFile()) found.push({ path, file, mode: keptMode(lstatSync(file).mode) });
      else {
        const kind = entry.isSymbolicLink() ? 'a symbolic link' : 'no regular file';
        throw new StorageError(
          'invalid_input',
          `Cannot use path ${JSON.stringify(path)}: it is ${kind}`,
        );
      }
    }
  };
  checkFolder(source.folder);
  const own = [...skipPaths].find((path) => `${realPath(source.folder)}/`.startsWith(`${path}/`));
  if (own !== undefined) {
    throw new StorageError(
      'invalid_input',
      `Cannot save "${source.folder}": it is the agent's own, or left out ("${own}")`,
    );
  }
  visit(realPath(source.folder), '');
  return found;
}

function checkFolder(folder: string): void {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return;
  const state = stat === undefined ? 'there is no such folder' : 'it is no folder';
  throw new StorageError('invalid_input', `Cannot save "${folder}": ${state}`);
}

/** A path without links; as it is where nothing is there. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function decodeName(decoder: TextDecoder, name: Uint8Array, prefix: string): string {
  try {
    return decoder.decode(name);
  } catch {
    const shown = JSON.stringify(prefix + Buffer.from(name).toString('latin1'));
    throw new StorageError('invalid_input', `Cannot use path ${shown}: its name is not UTF-8`);
  }
}

/** Permissions alone, and always those that the agent itself needs. */
function keptMode(mode: number | undefined): number {
  return ((mode ?? DEFAULT_MODE) & 0o777) | 0o600;
}

/** Reads a file in pieces, each good until the next; throws at its end where it is not what was hashed. */
export function* readChecked(file: string, entry: ManifestEntry): Iterable<Uint8Array> {
  const hash = createHash('sha256');
  for (const piece of readPieces(file)) {
    hash.update(piece);
    yield piece;
  }
  if (hash.digest('hex') !== entry.sha256) {
    throw new StorageError('conflict', `Cannot save "${entry.path}": it changed while it was read`);
  }
}

/** Each piece is good until the next one: they share a buffer, for large files are many. */
function* readPieces(file: string): Iterable<Uint8Array> {
  const fd = openSync(file, 'r');
  let buffer: Buffer | null = null;
  try {
    buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, Math.max(fstatSync(fd).size, 1)));
    for (;;) {
      const read = readSync(fd, buffer);
      if (read === 0) return;
      yield buffer.subarray(0, read);
    }
  } finally {
    // Given back at once: the garbage collector lets 64 MB of such memory pile up.
    (buffer?.buffer as ArrayBuffer | undefined)?.transfer(0);
    closeSync(fd);
  }
}
