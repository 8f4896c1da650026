/**
 * Loaded into a process with `--import`, and by it into its worker threads: counts the steps of
 * I/O in all of them, and at the one that `CRASH_AT` names ends the process with SIGKILL or, with
 * `CRASH_HOW=full`, lets the disk be full from there on, until `crashSteps.makeRoom()`, and again from `fill()`; with
 * `CRASH_HOW=EIO`, or another code, that one step fails, and to open a file to read is a step too. It writes
 * down in `CRASH_LOG` what a power loss could undo. A write is two steps, so that it may be torn.
 */
import fs, { type PathLike } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import threads from 'node:worker_threads';
import type { LogEntry } from './power-loss.ts';

const SHARED = 'crash-steps';
const killAt = Number(process.env.CRASH_AT ?? 0);
const root = process.env.CRASH_ROOT ?? '/nowhere';
const logFile = process.env.CRASH_LOG;
const backups = process.env.CRASH_BACKUPS;

const how = process.env.CRASH_HOW;
const fills = how === 'full';
/** What the one step fails with; `null`: none does. */
const failure = how === undefined || fills ? null : how;
/** What SQLite makes of it. */
const SQLITE_ERRORS: Record<string, number> = { EIO: 10, EDQUOT: 13, ENOSPC: 13, EROFS: 8 };
const SQLITE_CANTOPEN = 14;

/** How many steps there were, and whether room was made. */
const counter = new Int32Array(
  threads.isMainThread
    ? new SharedArrayBuffer(8)
    : (threads.getEnvironmentData(SHARED) as SharedArrayBuffer),
);
if (threads.isMainThread) threads.setEnvironmentData(SHARED, counter.buffer);
const crashSteps: CrashSteps = {
  count: () => Atomics.load(counter, 0),
  makeRoom: () => Atomics.store(counter, 1, 1),
  fill: () => Atomics.store(counter, 1, 0),
};
Object.assign(globalThis, { crashSteps });

export type CrashSteps = { count(): number; makeRoom(): void; fill(): void };

const WRITES = fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT;
const real = { ...fs };
const realAsync = { ...fs.promises };
const logFd = logFile === undefined ? null : real.openSync(logFile, 'a');

/** @param needsRoom what a full disk answers where the step needs room; `null` where it needs none */
function step(needsRoom: (() => Error) | null = null, fail = fileError): void {
  const count = Atomics.add(counter, 0, 1) + 1;
  if (failure !== null) {
    if (count === killAt) throw fail(failure);
    return;
  }
  if (fills) {
    const isFull = count >= killAt && Atomics.load(counter, 1) === 0;
    if (killAt > 0 && isFull && needsRoom !== null) throw needsRoom();
    return;
  }
  if (count !== killAt) return;
  process.kill(process.pid, 'SIGKILL');
  // Nothing more is done, by this thread at least, until the signal arrives.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const fileError = (code: string): Error =>
  Object.assign(new Error(`${code}: made to fail`), { code, syscall: 'made to fail' });
const sqliteError = (code: string) =>
  Object.assign(new Error('made to fail'), {
    code: 'ERR_SQLITE_ERROR',
    errcode: SQLITE_ERRORS[code] ?? SQLITE_CANTOPEN,
  });

const noSpace = () =>
  Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    errno: -28,
    syscall: 'write',
  });
const databaseFull = () =>
  Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', errcode: 13 });

function log(entry: LogEntry): void {
  if (logFd !== null) real.writeSync(logFd, `${JSON.stringify(entry)}\n`);
}

/** What needs no room. */
function isToRead(flags: fs.OpenMode): boolean {
  return typeof flags === 'number' ? (flags & WRITES) === 0 : flags === 'r';
}

function isOurs(path: PathLike): boolean {
  return resolve(String(path)).startsWith(root);
}

function inode(path: PathLike): number {
  return real.statSync(path, { throwIfNoEntry: false })?.ino ?? 0;
}

function folderOf(path: PathLike): number {
  return inode(dirname(String(path)));
}

/** Keeps what is about to be overwritten or removed: a power loss may bring it back. */
function backUp(path: PathLike): string | null {
  if (backups === undefined || !real.statSync(path, { throwIfNoEntry: false })?.isFile()) {
    return null;
  }
  const kept = join(
    backups,
    `${Atomics.load(counter, 0)}-${threads.threadId}-${basename(String(path))}`,
  );
  real.linkSync(path, kept);
  return kept;
}

const patched = {
  openSync(path: PathLike, flags: fs.OpenMode = 'r', mode?: fs.Mode): number {
    if (isToRead(flags) || !isOurs(path)) {
      if (failure !== null && isOurs(path)) step();
      return real.openSync(path, flags, mode);
    }
    step(noSpace);
    const isNew = inode(path) === 0;
    const fd = real.openSync(path, flags, mode);
    if (isNew) log({ op: 'create', path: String(path), file: inode(path), folder: folderOf(path) });
    return fd;
  },
  writeSync(fd: number, data: Uint8Array | string, ...rest: (number | null | undefined)[]): number {
    if (fd <= 2) return real.writeSync(fd, data as string);
    const [from, length, position = null] = rest;
    const offset = from ?? 0;
    const all = Buffer.from(data as Uint8Array);
    const bytes = all.subarray(offset, offset + (length ?? all.length));
    const needsRoom = isOurs(real.readlinkSync(`/proc/self/fd/${fd}`)) ? noSpace : null;
    step(needsRoom);
    log({ op: 'write', file: real.fstatSync(fd).ino });
    const half = bytes.length >> 1;
    real.writeSync(fd, bytes, 0, half, position);
    step(needsRoom);
    const at = position === null ? null : position + half;
    return half + real.writeSync(fd, bytes, half, bytes.length - half, at);
  },
  writeFileSync(
    path: PathLike,
    data: string | Uint8Array,
    options?: { flag?: string; mode?: number; flush?: boolean },
  ): void {
    if (!isOurs(path)) {
      real.writeFileSync(path, data, options);
      return;
    }
    const fd = patched.openSync(path, options?.flag ?? 'w', options?.mode);
    try {
      patched.writeSync(fd, typeof data === 'string' ? Buffer.from(data) : data);
      if (options?.flush) patched.fsyncSync(fd);
    } finally {
      real.closeSync(fd);
    }
  },
  fsyncSync(fd: number): void {
    step();
    real.fsyncSync(fd);
    log({ op: 'sync', file: real.fstatSync(fd).ino });
  },
  fsync(fd: number, done: (error: Error | null) => void): void {
    step();
    real.fsync(fd, (error) => {
      if (error === null) log({ op: 'sync', file: real.fstatSync(fd).ino });
      done(error);
    });
  },
  renameSync(from: PathLike, to: PathLike): void {
    step();
    const kept = backUp(to);
    const fromFolder = folderOf(from);
    real.renameSync(from, to);
    const folder = folderOf(to);
    log({ op: 'rename', path: String(to), from: String(from), kept, folder, fromFolder });
  },
  mkdirSync(path: PathLike, options?: fs.MakeDirectoryOptions): string | undefined {
    step(inode(path) === 0 && isOurs(path) ? noSpace : null);
    const first = real.mkdirSync(path, options);
    const made = options?.recursive ? first : String(path);
    if (made === undefined) return first;
    // From the outermost to the innermost: each is an entry of the one above.
    const chain: string[] = [];
    for (let folder = resolve(String(path)); ; folder = dirname(folder)) {
      chain.unshift(folder);
      if (folder === resolve(made)) break;
    }
    for (const folder of chain) log({ op: 'mkdir', path: folder, folder: folderOf(folder) });
    return first;
  },
  rmSync(path: PathLike, options?: fs.RmOptions): void {
    step();
    const kept = backUp(path);
    real.rmSync(path, options);
    if (kept !== null) log({ op: 'remove', path: String(path), kept, folder: folderOf(path) });
  },
  linkSync(from: PathLike, to: PathLike): void {
    step(noSpace);
    real.linkSync(from, to);
    log({ op: 'link', path: String(to), folder: folderOf(to) });
  },
  symlinkSync(target: PathLike, path: PathLike): void {
    step();
    real.symlinkSync(target, path);
    log({ op: 'create', path: String(path), file: 0, folder: folderOf(path) });
  },
};
Object.assign(fs, patched);
Object.assign(fs.write, {
  async [promisify.custom](fd: number, data: Uint8Array, ...rest: number[]) {
    return { bytesWritten: patched.writeSync(fd, data, ...rest), buffer: data };
  },
});

const patchedAsync = {
  async open(path: PathLike, flags: string | number = 'r', mode?: fs.Mode) {
    if (isToRead(flags) || !isOurs(path)) {
      if (failure !== null && isOurs(path)) step();
      return realAsync.open(path, flags, mode);
    }
    step(noSpace);
    const isNew = inode(path) === 0;
    const handle = await realAsync.open(path, flags, mode);
    if (isNew) log({ op: 'create', path: String(path), file: inode(path), folder: folderOf(path) });
    return handle;
  },
  async mkdir(path: PathLike, options?: fs.MakeDirectoryOptions) {
    return patched.mkdirSync(path, options);
  },
  async rename(from: PathLike, to: PathLike) {
    patched.renameSync(from, to);
  },
  async rm(path: PathLike, options?: fs.RmOptions) {
    step();
    await realAsync.rm(path, options);
  },
};
Object.assign(fs.promises, patchedAsync);

// The methods of a file handle are on a prototype that only a handle leads to.
const handle = await realAsync.open(import.meta.filename, 'r');
const prototype = Object.getPrototypeOf(handle) as Record<
  'write' | 'writeFile' | 'sync',
  (this: { fd: number }, ...args: unknown[]) => Promise<unknown>
>;
await handle.close();
const realHandle = {
  ...pick(prototype, 'write'),
  ...pick(prototype, 'writeFile'),
  ...pick(prototype, 'sync'),
};
for (const name of ['write', 'writeFile'] as const) {
  prototype[name] = async function (this: { fd: number }, data: unknown) {
    return { bytesWritten: patched.writeSync(this.fd, Buffer.from(data as Uint8Array)) };
  };
}
prototype.sync = async function (this: { fd: number }) {
  step();
  await realHandle.sync!.call(this);
  log({ op: 'sync', file: real.fstatSync(this.fd).ino });
};

function pick(from: typeof prototype, name: keyof typeof prototype) {
  return { [name]: from[name] };
}

const { exec } = DatabaseSync.prototype;
const durable = new WeakSet<DatabaseSync>();
DatabaseSync.prototype.exec = function (sql: string) {
  const needsRoom = sql === 'commit' || sql.includes('create table');
  step(needsRoom && isOurs(this.location() ?? '') ? databaseFull : null, sqliteError);
  exec.call(this, sql);
  if (/^pragma synchronous = /.test(sql)) durable[sql.endsWith('full') ? 'add' : 'delete'](this);
  if (sql === 'commit' && durable.has(this)) {
    const wal = real.statSync(`${this.location()}-wal`, { throwIfNoEntry: false });
    log({ op: 'commit', walBytes: wal?.size ?? 0 });
  }
};
/** Statements of a database elsewhere, which has room. */
const elsewhere = new WeakSet<StatementSync>();
const { prepare } = DatabaseSync.prototype;
DatabaseSync.prototype.prepare = function (
  this: DatabaseSync,
  ...args: Parameters<typeof prepare>
) {
  const statement = prepare.apply(this, args);
  if (!isOurs(this.location() ?? '')) elsewhere.add(statement);
  return statement;
} as typeof prepare;
const { run } = StatementSync.prototype;
StatementSync.prototype.run = function (this: StatementSync, ...values: Parameters<typeof run>) {
  step(elsewhere.has(this) ? null : databaseFull, sqliteError);
  return run.apply(this, values);
} as typeof run;

const { fetch } = globalThis;
globalThis.fetch = async (...args: Parameters<typeof fetch>) => {
  step();
  const response = await fetch(...args);
  step();
  return response;
};

const { Worker } = threads;
threads.Worker = class extends Worker {
  constructor(file: string | URL, options: threads.WorkerOptions = {}) {
    super(file, {
      ...options,
      execArgv: [...(options.execArgv ?? []), '--import', import.meta.url],
    });
  }
};

syncBuiltinESMExports();
