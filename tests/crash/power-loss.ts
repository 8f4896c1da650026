/**
 * What a power loss leaves of a folder in which a process worked: nothing that was not fsynced has
 * to be there. Files lose their content, folders the entries that came after their last fsync.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** One step as `steps.ts` writes it down. Files and folders are inode numbers. */
export type LogEntry =
  | { op: 'create'; path: string; file: number; folder: number }
  | { op: 'write'; file: number }
  | { op: 'sync'; file: number }
  /** Of the catalog, and fsynced: what its log holds up to here is not lost. */
  | { op: 'commit'; walBytes: number }
  | { op: 'mkdir' | 'link'; path: string; folder: number }
  | {
      op: 'rename';
      path: string;
      from: string;
      kept: string | null;
      folder: number;
      fromFolder: number;
      /** Added here: the old name is gone for good, the new one is not there for good. */
      leftForGood?: boolean;
    }
  | { op: 'remove'; path: string; kept: string; folder: number };

/** What is lost beside the content of files: see {@link losePower}. */
export type Loss = Readonly<{
  /** What unsynced files become. */
  content: 'empty' | 'zeros';
  /** Whether unsynced entries of folders are lost. */
  entries: boolean;
  /** Whether the catalog loses what was not fsynced. */
  catalog: boolean;
}>;

/** What of the folder that holds a `store` would not survive a power loss now. */
export type Unsynced = Readonly<{
  files: string[];
  entries: LogEntry[];
  /** Bytes of the catalog's write-ahead log that would survive. */
  walBytes: number;
}>;

/** Reads it from the log of the process that worked on the store. */
export function readUnsynced(folder: string, logFile: string): Unsynced {
  const written = new Set<number>();
  let entries: LogEntry[] = [];
  let walBytes = 0;
  for (const line of readFileSync(logFile, 'utf8').split('\n').filter(Boolean)) {
    const entry = JSON.parse(line) as LogEntry;
    if (entry.op === 'commit') walBytes = entry.walBytes;
    if (entry.op === 'write') written.add(entry.file);
    if (entry.op === 'sync' || entry.op === 'create') written.delete(entry.file);
    if (entry.op === 'sync') {
      entries = entries.filter((other) => !('folder' in other) || other.folder !== entry.file);
      for (const other of entries) {
        if (other.op === 'rename' && other.fromFolder === entry.file) other.leftForGood = true;
      }
    } else if ('folder' in entry) entries.push(entry);
  }
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('catalog.sqlite'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => written.has(statSync(path).ino));
  return { files: files.map((path) => relative(folder, path)), entries, walBytes };
}

/**
 * Takes from a copy of that folder what a power loss would have.
 *
 * @param original where the entries' paths point
 */
export function losePower(copy: string, original: string, unsynced: Unsynced, loss: Loss): void {
  for (const file of unsynced.files) {
    const path = join(copy, file);
    if (loss.content === 'empty') truncateSync(path, 0);
    else writeFileSync(path, Buffer.alloc(statSync(path).size));
  }
  const inCopy = (path: string) => resolve(copy, relative(original, path));
  for (const entry of loss.entries ? [...unsynced.entries].reverse() : []) undo(entry, inCopy);
  const catalog = join(copy, 'store/.codebegen-storage/catalog.sqlite');
  if (loss.catalog && existsSync(`${catalog}-wal`)) {
    truncateSync(`${catalog}-wal`, unsynced.walBytes);
    rmSync(`${catalog}-shm`, { force: true });
  }
  pretendReboot(join(copy, 'store'), catalog);
}

function undo(entry: LogEntry, inCopy: (path: string) => string): void {
  if (!('folder' in entry)) return;
  // Another folder has taken the place of that in which it was.
  const folder = statSync(dirname(entry.path), { throwIfNoEntry: false });
  if (folder !== undefined && folder.ino !== entry.folder) return;
  const path = inCopy(entry.path);
  switch (entry.op) {
    case 'create':
    case 'mkdir':
    case 'link':
      rmSync(path, { recursive: true, force: true });
      break;
    case 'rename':
      if (entry.leftForGood) rmSync(path, { recursive: true, force: true });
      else if (existsSync(path)) {
        const from = inCopy(entry.from);
        mkdirSync(dirname(from), { recursive: true });
        renameSync(path, from);
      }
      if (entry.kept !== null) cpSync(entry.kept, path);
      break;
    case 'remove':
      if (!existsSync(path) && existsSync(dirname(path))) cpSync(entry.kept, path);
      break;
  }
}

/** The process that comes next runs on a machine that was started since. */
function pretendReboot(store: string, catalog: string): void {
  if (!existsSync(store)) return;
  for (const name of readdirSync(store, { recursive: true, encoding: 'utf8' })) {
    // Empty, or of zeros, it says nothing.
    if (basename(name) !== 'tree.json') continue;
    const text = readFileSync(join(store, name), 'utf8').replace(
      /"boot":"[^"]*"/,
      '"boot":"other"',
    );
    writeFileSync(join(store, name), text);
  }
  if (!existsSync(catalog)) return;
  const db = new DatabaseSync(catalog);
  try {
    db.exec(`update meta set value = 'another boot' where key = 'scanned_boot'`);
  } catch {
    // It has no tables yet.
  } finally {
    db.close();
  }
}
